"""Advantages and the loss, against stable-baselines3 and closed forms."""

import numpy as np
import torch
from gymnasium import spaces
from hypothesis import given
from hypothesis import strategies as st
from stable_baselines3.common.buffers import RolloutBuffer

from lightning_binding.carml.ppo import masked_mean, moments, normalised, ppo_loss, trial_advantages

SHAPES = st.tuples(st.integers(1, 12), st.integers(1, 6))
UNIT = st.floats(0, 1)


@given(SHAPES, UNIT, UNIT, st.integers(0, 1000))
def test_advantages_are_those_of_stable_baselines3(shape: tuple[int, int], gamma: float, lam: float, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    rewards, values = (torch.randn(shape, generator=generator) for _ in range(2))
    length, trials = shape
    box = spaces.Box(-1, 1, (1,))
    buffer = RolloutBuffer(length, box, box, "cpu", lam, gamma, trials)
    for step in range(length):
        zeros = np.zeros((trials, 1))
        starts = np.full(trials, step == 0)
        buffer.add(zeros, zeros, rewards[step].numpy(), starts, values[step], torch.zeros(trials))
    buffer.compute_returns_and_advantage(torch.randn(trials), np.ones(trials))  # nothing follows the end
    found = trial_advantages(rewards, values, gamma, lam)
    np.testing.assert_allclose(found, buffer.advantages, atol=1e-4)
    np.testing.assert_allclose(found + values, buffer.returns, atol=1e-4)


@given(SHAPES, UNIT, st.integers(0, 1000))
def test_without_cut_off_they_are_returns_less_values(shape: tuple[int, int], gamma: float, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    rewards, values = (torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(2))
    returns = torch.stack(
        [
            sum(gamma ** (later - step) * rewards[later] for later in range(step, shape[0]))  # type: ignore[misc]
            for step in range(shape[0])
        ]
    )
    torch.testing.assert_close(trial_advantages(rewards, values, gamma, 1.0), returns - values)


def steps(length: int, trials: int, seed: int = 0) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    names = ("log_probs", "entropy", "values", "old_log_probs", "old_values", "advantages", "returns")
    made = {name: torch.randn(length, trials, generator=generator, dtype=torch.float64) for name in names}
    return {**made, "mask": torch.ones(length, trials, dtype=torch.float64)}


def loss(given: dict[str, torch.Tensor], **options: float) -> torch.Tensor:
    first = [given[name] for name in ("log_probs", "entropy", "values")]
    rest = {name: value for name, value in given.items() if name not in ("log_probs", "entropy", "values")}
    return torch.stack(list(ppo_loss(*first, **rest, **options)))  # type: ignore[arg-type]


@given(st.integers(1, 4), st.sampled_from([float("nan"), float("inf"), -1e9, 3.0]), st.integers(0, 100))
def test_what_is_masked_counts_for_nothing(extra: int, garbage: float, seed: int) -> None:
    """H5: the same loss, the same gradient, the same statistics with garbage appended."""
    made = steps(5, 3, seed)
    padded = {name: torch.cat([value, torch.full((extra, 3), garbage).double()]) for name, value in made.items()}
    padded["mask"][5:] = 0
    options = {"value_clip": 0.3, "entropy_weight": 0.01}
    torch.testing.assert_close(loss(padded, **options), loss(made, **options))
    torch.testing.assert_close(moments(padded["advantages"], padded["mask"]), moments(made["advantages"], made["mask"]))
    gradients = []
    for each in (made, padded):
        leaf = each["log_probs"].clone().requires_grad_()
        loss({**each, "log_probs": leaf}, **options)[0].backward()
        assert leaf.grad is not None
        gradients.append(leaf.grad[:5])
    torch.testing.assert_close(*gradients)


def test_the_loss_as_stable_baselines3_writes_it() -> None:
    made = steps(7, 4)
    ratio = torch.exp(made["log_probs"] - made["old_log_probs"])
    policy = -torch.min(made["advantages"] * ratio, made["advantages"] * torch.clamp(ratio, 0.8, 1.2)).mean()
    value = torch.nn.functional.mse_loss(
        made["returns"], made["old_values"] + torch.clamp(made["values"] - made["old_values"], -0.5, 0.5)
    )
    entropy = made["entropy"].mean()
    log_ratio = made["log_probs"] - made["old_log_probs"]
    kl = ((torch.exp(log_ratio) - 1) - log_ratio).mean()
    clipped = ((ratio - 1).abs() > 0.2).double().mean()
    expected = [policy + 0.25 * value - 0.02 * entropy, policy, value, entropy, kl, clipped]
    options = {"clip": 0.2, "value_clip": 0.5, "value_weight": 0.25, "entropy_weight": 0.02}
    torch.testing.assert_close(loss(made, **options), torch.stack(expected))


@given(SHAPES, st.integers(0, 100))
def test_normalised_advantages_are_so_over_all_ranks(shape: tuple[int, int], seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    values = 3 + 2 * torch.randn(shape[0] + 1, shape[1] + 1, generator=generator, dtype=torch.float64)
    mask = torch.ones_like(values)
    sums = moments(values[:1], mask[:1]) + moments(values[1:], mask[1:])  # as two ranks add them up
    found = normalised(values, sums)
    torch.testing.assert_close(found, (values - values.mean()) / (values.std() + 1e-8))


def test_nothing_at_all_has_the_mean_zero() -> None:
    assert float(masked_mean(torch.full((2, 2), float("nan")), torch.zeros(2, 2))) == 0
