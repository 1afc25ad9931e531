"""The reward against its identities, against exact integrals, and against scikit-learn's densities."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.mixture import GaussianMixture as SklearnMixture
from torch import Tensor

from lightning_binding import InputError
from lightning_binding.carml.reward import (
    information,
    log_marginal,
    log_posterior,
    posterior_entropy,
    task_reward,
)

# Mixtures of four equal isotropic Gaussians at (+-1, +-1): deviation -> I(s; z), H(z|s), H(s|z), H(s), and E[r_z] at
# lam = 0, 0.5, 0.99, 1; in nats.
EXACT = {
    0.10: (1.38629, 0.00000, -1.76729, -0.38100, (-0.38100, 0.50265, 1.36862, 1.38629)),
    0.25: (1.38611, 0.00019, 0.06529, 1.45140, (1.45140, 1.41875, 1.38676, 1.38611)),
    0.50: (1.26544, 0.12085, 1.45158, 2.71702, (2.71702, 1.99123, 1.27996, 1.26544)),
    1.00: (0.67366, 0.71263, 2.83788, 3.51154, (3.51154, 2.09260, 0.70204, 0.67366)),
    2.00: (0.22284, 1.16345, 4.22417, 4.44701, (4.44701, 2.33493, 0.26508, 0.22284)),
}
LAMS = (0.0, 0.5, 0.99, 1.0)
CENTRES = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]], dtype=torch.float64)


def gaussians(states: Tensor, centres: Tensor, sigma: float) -> Tensor:
    """log N(s; centre, sigma^2), (..., K)."""
    squares = (states[..., None, :] - centres).square().sum(-1)
    return -squares / (2 * sigma**2) - states.shape[-1] * math.log(sigma * math.sqrt(2 * math.pi))


def integral(sigma: float, order: int = 100) -> tuple[Tensor, Tensor, Tensor]:
    """States of each component with their weights, by the product of two Gauss-Hermite rules."""
    nodes, weights = (torch.from_numpy(each) for each in np.polynomial.hermite_e.hermegauss(order))
    grid = torch.cartesian_prod(nodes, nodes)
    weight = torch.cartesian_prod(weights, weights).prod(-1) / (2 * math.pi)
    states = CENTRES[:, None] + sigma * grid
    return states, weight, gaussians(states, CENTRES, sigma)


@pytest.mark.parametrize("sigma", EXACT)
def test_the_table_of_exact_integrals(sigma: float) -> None:
    _, weight, log_likelihood = integral(sigma)
    prior = torch.full((4,), -math.log(4), dtype=torch.float64)
    told, left, given_task, marginal, rewards = EXACT[sigma]
    task = torch.arange(4)[:, None]

    def mean(values: Tensor) -> float:
        return float((values * weight).sum(-1).mean())

    assert mean(information(log_likelihood, prior)) == pytest.approx(told, abs=1e-5)
    assert mean(posterior_entropy(log_likelihood, prior)) == pytest.approx(left, abs=1e-5)
    own = log_likelihood.gather(-1, task[..., None].expand(-1, log_likelihood.shape[1], 1))[..., 0]
    assert -mean(own) == pytest.approx(given_task, abs=1e-5)
    assert -mean(log_marginal(log_likelihood, prior)) == pytest.approx(marginal, abs=1e-5)
    for lam, expected in zip(LAMS, rewards, strict=True):
        assert mean(task_reward(log_likelihood, prior, task, lam)) == pytest.approx(expected, abs=1e-5)  # P5
        assert expected == pytest.approx(marginal - lam * given_task, abs=2e-5)


def case(components: int, seed: int, states: int = 7) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    draw = torch.randn(states + 1, components, generator=generator, dtype=torch.float64)
    return 5 * draw[1:], draw[0].log_softmax(-1)


def all_tasks(log_likelihood: Tensor, prior: Tensor, lam: float) -> Tensor:
    """Rewards of every state under every task, (N, K)."""
    tasks = range(len(prior))
    return torch.stack([task_reward(log_likelihood, prior, torch.tensor(z), lam) for z in tasks], -1)


@given(st.integers(1, 9), st.integers(0, 10**6), st.floats(0.01, 1))
def test_identities_of_every_state(components: int, seed: int, lam: float) -> None:
    log_likelihood, prior = case(components, seed)
    marginal = log_marginal(log_likelihood, prior)
    reward = all_tasks(log_likelihood, prior, lam)
    total = ((reward + marginal[:, None]) / lam + prior).logsumexp(-1)
    torch.testing.assert_close(total, marginal, atol=1e-9, rtol=1e-9)  # P1, for any lam
    matched = (lam - 1) * log_likelihood + log_posterior(log_likelihood, prior) - prior
    torch.testing.assert_close(reward, matched, atol=1e-9, rtol=1e-9)  # P4
    discriminating = all_tasks(log_likelihood, prior, 1.0)
    torch.testing.assert_close((discriminating + prior).logsumexp(-1).exp(), torch.ones(7).double())  # P1, lam = 1
    assert bool((discriminating <= -prior + 1e-9).all())  # P2
    posterior = log_posterior(log_likelihood, prior).exp()
    told = (posterior * discriminating).sum(-1)
    torch.testing.assert_close(told, information(log_likelihood, prior), atol=1e-9, rtol=1e-9)  # P3
    assert bool((told >= -1e-9).all())
    order = torch.randperm(components)
    shuffled = all_tasks(log_likelihood[:, order], prior[order], lam)
    torch.testing.assert_close(shuffled, reward[:, order], atol=1e-9, rtol=1e-9)  # P8


@pytest.mark.parametrize(("components", "bound"), [(16, 2.77259), (25, 3.21888)])
def test_uniform_tasks_bound_the_reward_by_their_logarithm(components: int, bound: float) -> None:
    log_likelihood, _ = case(components, 0, 1000)
    prior = torch.full((components,), -math.log(components), dtype=torch.float64)
    reward = all_tasks(100 * log_likelihood, prior, 1.0)
    assert float(reward.max()) == pytest.approx(bound, abs=1e-5)
    assert float(information(100 * log_likelihood, prior).max()) == pytest.approx(bound, abs=1e-5)


@given(st.floats(0, 1))
def test_one_task_pays_for_rarity_alone(lam: float) -> None:
    log_likelihood, prior = case(1, 3)[0], torch.zeros(1, dtype=torch.float64)
    reward = task_reward(log_likelihood, prior, 0, lam)
    torch.testing.assert_close(reward, (lam - 1) * log_likelihood[:, 0])  # P6
    assert bool((task_reward(log_likelihood, prior, 0, 1.0) == 0).all())


def test_affine_maps_of_the_features_matter_only_below_lam_1() -> None:
    states, prior = torch.randn(50, 2, dtype=torch.float64), torch.full((4,), -math.log(4), dtype=torch.float64)
    plain = gaussians(states, CENTRES, 0.5)
    scaled = gaussians(3 * states + 2, 3 * CENTRES + 2, 1.5)
    z = torch.arange(50) % 4
    torch.testing.assert_close(task_reward(scaled, prior, z, 1.0), task_reward(plain, prior, z, 1.0))
    shift = task_reward(scaled, prior, z, 0.25) - task_reward(plain, prior, z, 0.25)
    torch.testing.assert_close(shift, torch.full((50,), 0.75 * 2 * math.log(3), dtype=torch.float64))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("lam", LAMS)
def test_far_away_the_reward_is_finite(dtype: torch.dtype, lam: float) -> None:
    log_likelihood = gaussians(torch.tensor([[1000.0, -1000.0]], dtype=dtype), CENTRES.to(dtype), 1.0)
    prior = torch.full((4,), -math.log(4), dtype=dtype)
    reward = all_tasks(log_likelihood, prior, lam)
    assert bool(reward.isfinite().all())  # P9
    assert int(reward.argmax()) == 1 or lam == 0
    assert bool(log_posterior(log_likelihood, prior).exp().isfinite().all())


def test_agreement_with_scikit_learn() -> None:
    random = np.random.default_rng(0)
    states = np.concatenate([random.normal(shift, 1.0, (200, 3)) for shift in (-2, 0, 3)])
    other = SklearnMixture(3, random_state=0).fit(states)
    log_likelihood = torch.from_numpy(other._estimate_log_prob(states))
    prior = torch.from_numpy(np.log(other.weights_))
    z = torch.from_numpy(random.integers(0, 3, len(states)))
    expected = torch.from_numpy(np.log(other.predict_proba(states))).gather(1, z[:, None])[:, 0] - prior[z]
    torch.testing.assert_close(task_reward(log_likelihood, prior, z, 1.0), expected, atol=1e-8, rtol=1e-8)
    torch.testing.assert_close(log_marginal(log_likelihood, prior), torch.from_numpy(other.score_samples(states)))


def test_one_call_for_whole_trajectories() -> None:
    log_likelihood, prior = torch.randn(5, 11, 4), torch.randn(4).log_softmax(-1)
    z = torch.tensor([3, 0, 1, 1, 2])
    together = task_reward(log_likelihood, prior, z[:, None], 0.7)
    alone = torch.stack([task_reward(log_likelihood[b], prior, int(z[b]), 0.7) for b in range(5)])
    assert torch.equal(together, alone)


@pytest.mark.parametrize(
    ("likelihood", "prior", "z", "lam", "sentence"),
    [
        (torch.zeros(5, 4), torch.zeros(3), 0, 0.5, r"expected \(..., K\) and \(K,\)"),
        (torch.tensor(0.0), torch.zeros(1), 0, 0.5, r"expected \(..., K\) and \(K,\)"),
        (torch.zeros(5, 4), torch.zeros(4), 0, 1.5, r"lam is 1.5; it must be in \[0, 1\]"),
        (torch.zeros(5, 4), torch.zeros(4), torch.tensor(4), 0.5, "whole numbers from 0 to 3"),
        (torch.zeros(5, 4), torch.zeros(4), torch.tensor(-1), 0.5, "whole numbers from 0 to 3"),
        (torch.zeros(5, 4), torch.zeros(4), torch.tensor(0.5), 0.5, "whole numbers from 0 to 3"),
        (torch.zeros(5, 4), torch.zeros(4), torch.zeros(3, dtype=torch.long), 0.5, "does not broadcast"),
    ],
)
def test_wrong_input(likelihood: Tensor, prior: Tensor, z: Tensor | int, lam: float, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        task_reward(likelihood, prior, z, lam)
