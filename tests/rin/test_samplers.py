"""All samplers on denoisers whose answer is known: an oracle, and the posterior mean of a Gaussian."""

import itertools
import math
from typing import Any

import pytest
import torch
from torch import Tensor

from lightning_binding.errors import InputError
from lightning_binding.rin.levels import Level, levels
from lightning_binding.rin.objectives import X0, Epsilon, Flow, Objective, V, noise_within
from lightning_binding.rin.samplers import SAMPLERS, Denoiser, Sampler, ancestral_variance, ddim, ddpm, ddpm_small
from lightning_binding.rin.schedules import Cosine, Schedule, cosine, linear, sigmoid

DETERMINISTIC = ["ddim", "dpmpp_2m", "heun"]
every_sampler = pytest.mark.parametrize("sampler", SAMPLERS.values(), ids=SAMPLERS.keys())
deterministic = pytest.mark.parametrize("sampler", [SAMPLERS[name] for name in DETERMINISTIC], ids=DETERMINISTIC)


def noise_of(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1), dtype=dtype)


def oracle(x_0: Tensor, objective: Objective) -> Denoiser:
    """Knows the data, and predicts the target that belongs to x."""

    def denoise(x: Tensor, gamma: Tensor, latents: Tensor | None) -> tuple[Tensor, None]:
        return objective.target(x_0, noise_within(x, x_0, gamma), gamma), None

    return denoise


class Gaussian:
    """Data N(mean, deviation²): the denoiser is the posterior mean, and the probability flow has a closed form."""

    def __init__(self, mean: float = 0.3, deviation: float = 0.5) -> None:
        self.mean, self.deviation = mean, deviation

    def posterior(self, gamma: float) -> tuple[float, float]:
        """E[x_0 | x] = mean + gain (x - centre) as (gain, centre)."""
        variance = self.deviation**2
        return math.sqrt(gamma) * variance / (gamma * variance + 1 - gamma), math.sqrt(gamma) * self.mean

    def __call__(self, x: Tensor, gamma: Tensor, latents: Tensor | None) -> tuple[Tensor, None]:
        gain, centre = self.posterior(gamma[0].item())
        return self.mean + gain * (x - centre), None

    def spread(self, gamma: float) -> float:
        """Standard deviation of x_t."""
        return math.sqrt(gamma * self.deviation**2 + 1 - gamma)

    def exact(self, noise: Tensor, steps: int, schedule: Schedule) -> Tensor:
        """What a solver without error returns: E[x_0 | x] at t = 1 / N on the flow's path from `noise`."""
        first, last = schedule(torch.tensor([1, 1 / steps], dtype=torch.float64)).tolist()
        standard = (noise - math.sqrt(first) * self.mean) / self.spread(first)
        x = math.sqrt(last) * self.mean + self.spread(last) * standard
        return self(x, torch.tensor([last], dtype=torch.float64), None)[0]

    def error(self, sampler: Sampler, steps: int, schedule: Schedule) -> float:
        noise = torch.linspace(-2, 2, 9, dtype=torch.float64)[:, None]
        sample = sampler(self, noise, steps=steps, schedule=schedule, objective=X0(), clip=None)
        return (sample - self.exact(noise, steps, schedule)).abs().max().item()


class EvenLogSNR(Schedule):
    """Steps of one size in lambda, for which DPM-Solver++(2M) was derived."""

    def gamma(self, t: Tensor) -> Tensor:
        return torch.sigmoid(2 * (5 - 9 * t))


# --- the oracle ----------------------------------------------------------------------------------------------------


@every_sampler
@pytest.mark.parametrize("objective", [Epsilon(), X0(), V(), Flow()], ids=repr)
@pytest.mark.parametrize("time_difference", [0.0, 1.0])
def test_oracle_is_believed(sampler: Sampler, objective: Objective, time_difference: float) -> None:
    x_0 = noise_of(4, 3, 8, 8).clamp(-1, 1)
    for schedule in (cosine, sigmoid):
        for steps in (2, 9, 50):
            sample = sampler(
                oracle(x_0, objective),
                noise_of(4, 3, 8, 8).flip(0),
                steps=steps,
                schedule=schedule,
                objective=objective,
                time_difference=time_difference,
                generator=torch.Generator().manual_seed(2),
            )
            assert (sample - x_0).abs().max() <= (0 if isinstance(objective, X0) else 5e-7)


@every_sampler
def test_one_step_of_epsilon_is_as_exact_as_the_last_gamma_allows(sampler: Sampler) -> None:
    x_0 = 0.9 * noise_of(4, 8).clamp(-1, 1)
    sample = sampler(oracle(x_0, Epsilon()), noise_of(4, 8).flip(0), steps=1, schedule=cosine)
    assert (sample - x_0).abs().max() < 1e-2  # gamma(1) = 6e-9 amplifies round-off by 1e4


@deterministic
def test_constant_x_0_and_eps_are_carried_exactly(sampler: Sampler) -> None:
    """On an arc of constant (x_0, eps) every deterministic sampler stays, however large its steps."""
    data, eps = noise_of(2, 1, 6, dtype=torch.float64)
    seen = []

    def denoise(x: Tensor, gamma: Tensor, latents: Tensor | None) -> tuple[Tensor, None]:
        seen.append((x - gamma.sqrt() * data - (1 - gamma).sqrt() * eps).abs().max().item())
        return data, None

    gamma_1 = cosine(torch.ones((), dtype=torch.float64))
    start = gamma_1.sqrt() * data + (1 - gamma_1).sqrt() * eps
    sampler(denoise, start, steps=4, schedule=cosine, objective=X0(), clip=None)
    assert max(seen) < 1e-12


# --- the Gaussian --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "schedule", "order"),
    [
        ("ddim", cosine, 1),
        ("ddim", EvenLogSNR(), 1),
        ("heun", cosine, 2),
        ("heun", EvenLogSNR(), 2),
        ("dpmpp_2m", EvenLogSNR(), 2),
    ],
)
def test_order_of_convergence(name: str, schedule: Schedule, order: int) -> None:
    errors = [Gaussian().error(SAMPLERS[name], steps, schedule) for steps in (80, 160, 320)]
    for coarse, fine in itertools.pairwise(errors):
        assert math.log2(coarse / fine) == pytest.approx(order, abs=0.15)


def test_few_steps_of_second_order_beat_as_many_evaluations_of_ddim() -> None:
    data = Gaussian()
    baseline = data.error(ddim, 19, cosine)
    assert data.error(SAMPLERS["dpmpp_2m"], 19, cosine) < baseline / 3
    assert data.error(SAMPLERS["heun"], 10, cosine) < baseline / 5  # 19 evaluations too


@deterministic
def test_flow_maps_noise_to_the_data_distribution(sampler: Sampler) -> None:
    """Mean and deviation of the samples are those of the data, and each sample is its noise, moved and scaled."""
    noise = noise_of(20_000, 1, dtype=torch.float64)
    sample = sampler(Gaussian(0.3, 0.5), noise, steps=300, schedule=cosine, objective=X0(), clip=None)
    torch.testing.assert_close(sample, 0.3 + 0.5 * noise, rtol=0, atol=0.012)
    assert sample.mean().item() == pytest.approx(0.3, abs=0.015)
    assert sample.std().item() == pytest.approx(0.5, abs=0.015)


@pytest.mark.parametrize("name", ["ddpm", "ddpm_small", "dpmpp_2m_sde"])
def test_ancestral_samples_follow_the_data_distribution(name: str) -> None:
    noise = noise_of(20_000, 1, dtype=torch.float64)
    generator = torch.Generator().manual_seed(3)
    sample = SAMPLERS[name](
        Gaussian(0.3, 0.5), noise, steps=200, schedule=cosine, objective=X0(), clip=None, generator=generator
    )
    assert sample.mean().item() == pytest.approx(0.3, abs=0.015)
    assert sample.std().item() == pytest.approx(0.5, abs=0.02)
    assert abs(torch.corrcoef(torch.cat([sample, noise], dim=1).T)[0, 1].item()) < 0.02  # the start is forgotten


@pytest.mark.parametrize("small", [False, True])
@pytest.mark.parametrize("time_difference", [0.0, 1.0])
def test_variance_of_ddpm_is_that_of_the_originals_recursion(small: bool, time_difference: float) -> None:
    """The original's form, mean = (x - (1 - alpha) / sqrt(1 - gamma) eps) / sqrt(alpha), followed by hand."""
    data, steps = Gaussian(0.3, 0.5), 12
    mean, variance, x_0_mean, x_0_variance = 0.0, 1.0, 0.0, 0.0
    for i in range(steps):
        times = [1 - i / steps, max(1 - (i + 1 + time_difference) / steps, 0)]
        gamma, gamma_next = cosine(torch.tensor(times, dtype=torch.float64)).tolist()
        gain, centre = data.posterior(gamma)
        x_0_mean, x_0_variance = data.mean + gain * (mean - centre), gain**2 * variance
        alpha = gamma / gamma_next
        eps_mean = (mean - math.sqrt(gamma) * x_0_mean) / math.sqrt(1 - gamma)
        eps_gain = (1 - math.sqrt(gamma) * gain) / math.sqrt(1 - gamma)
        mean = (mean - (1 - alpha) / math.sqrt(1 - gamma) * eps_mean) / math.sqrt(alpha)
        factor = (1 - (1 - alpha) / math.sqrt(1 - gamma) * eps_gain) / math.sqrt(alpha)
        variance = factor**2 * variance + (1 - alpha) * ((1 - gamma_next) / (1 - gamma) if small else 1)
    sample = (ddpm_small if small else ddpm)(
        data,
        noise_of(40_000, 1, dtype=torch.float64),
        steps=steps,
        schedule=cosine,
        objective=X0(),
        clip=None,
        time_difference=time_difference,
        generator=torch.Generator().manual_seed(4),
    )
    assert sample.mean().item() == pytest.approx(x_0_mean, abs=0.015)
    assert sample.var().item() == pytest.approx(x_0_variance, rel=0.03)


def test_large_variance_is_exact_for_data_of_unit_variance() -> None:
    noise = noise_of(40_000, 1, dtype=torch.float64)
    generator = torch.Generator().manual_seed(5)
    sample = ddpm(Gaussian(0, 1), noise, steps=4, schedule=linear, objective=X0(), clip=None, generator=generator)
    assert sample.var().item() == pytest.approx(0.75, rel=0.03)  # x stays N(0, 1), and x_0 = sqrt(gamma(1/4)) x


# --- the steps -----------------------------------------------------------------------------------------------------


def test_ddim_steps_with_the_noise_derived_after_clipping() -> None:
    """With a prediction that leaves the range, x' = sqrt(g') x_0 + sqrt(1 - g') eps, and (x_0, eps) still make x."""
    seen: list[tuple[Tensor, float]] = []
    estimates: list[Tensor] = []
    noise = noise_of(2, 3, 4, 4, dtype=torch.float64)

    def denoise(x: Tensor, gamma: Tensor, latents: Tensor | None) -> tuple[Tensor, None]:
        seen.append((x, gamma[0].item()))
        return 3 * torch.sin(5 * x), None

    result = ddim(
        denoise, noise, steps=6, schedule=sigmoid, clip=0.5, on_step=lambda _, x_0: estimates.append(x_0.clone())
    )
    assert sum((x_0.abs() == 0.5).sum().item() for x_0 in estimates) > 100  # the clip was at work
    for (x, gamma), (x_next, gamma_next), x_0 in zip(seen, seen[1:], estimates, strict=False):
        eps = (x - math.sqrt(gamma) * x_0) / math.sqrt(1 - gamma)
        torch.testing.assert_close(x_next, math.sqrt(gamma_next) * x_0 + math.sqrt(1 - gamma_next) * eps)
        raw = (x - math.sqrt(1 - gamma) * 3 * torch.sin(5 * x)) / math.sqrt(gamma)
        torch.testing.assert_close(x_0, raw.clamp(-0.5, 0.5))
    assert torch.equal(result, estimates[-1])


@every_sampler
def test_each_evaluation_gets_the_latents_of_the_one_before(sampler: Sampler) -> None:
    given: list[int | None] = []
    gammas: list[float] = []

    def denoise(x: Tensor, gamma: Tensor, latents: Tensor | None) -> tuple[Tensor, Tensor]:
        assert gamma.shape == (x.shape[0],)
        assert gamma.dtype == x.dtype
        given.append(None if latents is None else int(latents[0]))
        gammas.append(gamma[0].item())
        return 0.1 * x, torch.full((x.shape[0],), len(given) - 1)

    sampler(denoise, noise_of(2, 3), steps=5, schedule=sigmoid)
    assert given == [None, *range(len(given) - 1)]
    grid = sigmoid(torch.tensor([1, 0.8, 0.6, 0.4, 0.2])).tolist()
    two = [grid[0], *(gamma for gamma in grid[1:] for _ in range(2))]  # Heun's corrector, then the next step, at each
    assert gammas == pytest.approx(two if sampler is SAMPLERS["heun"] else grid, rel=1e-6)


@every_sampler
@pytest.mark.parametrize("time_difference", [0.0, 1.0, 2.5, 100.0])
def test_steps_to_a_gamma_of_one_are_finite(sampler: Sampler, time_difference: float) -> None:
    for schedule in (sigmoid, linear, cosine):
        for steps in (1, 2, 3, 10):
            inputs: list[Tensor] = []

            def denoise(
                x: Tensor, gamma: Tensor, latents: Tensor | None, inputs: list[Tensor] = inputs
            ) -> tuple[Tensor, None]:
                inputs.append(x)
                return torch.sin(3 * x), None

            noise = noise_of(2, 3)
            sample = sampler(denoise, noise, steps=steps, schedule=schedule, time_difference=time_difference, clip=1.0)
            assert all(torch.isfinite(x).all() for x in [*inputs, sample])
            assert sample.abs().max() <= 1


@every_sampler
def test_equal_levels_at_the_floor_of_the_schedule_change_nothing(sampler: Sampler) -> None:
    schedule = Cosine(0, 1, 3.0)
    floor = [now for now, then in levels(200, schedule) if now.gamma == then.gamma]
    assert len(floor) > 1
    generator = torch.Generator().manual_seed(6)
    sample = sampler(Gaussian(), noise_of(64, 2), steps=200, schedule=schedule, objective=X0(), generator=generator)
    assert torch.isfinite(sample).all()
    assert sample.mean().item() == pytest.approx(0.3, abs=0.15)


@every_sampler
def test_generator_is_all_that_chance_depends_on(sampler: Sampler) -> None:
    def sample(seed: int) -> tuple[Tensor, bool]:
        generator = torch.Generator().manual_seed(seed)
        before = generator.get_state()
        x_0 = sampler(Gaussian(), noise_of(8, 4), steps=5, schedule=cosine, objective=X0(), generator=generator)
        return x_0, torch.equal(before, generator.get_state())

    torch.manual_seed(0)
    first, untouched = sample(7)
    torch.manual_seed(1)
    assert torch.equal(first, sample(7)[0])
    stochastic = sampler not in [SAMPLERS[name] for name in DETERMINISTIC]
    assert untouched is not stochastic
    assert torch.equal(first, sample(8)[0]) is not stochastic


@every_sampler
def test_hook_sees_every_step_once_and_the_result_last(sampler: Sampler) -> None:
    calls: list[tuple[int, Tensor]] = []
    result = sampler(
        Gaussian(),
        noise_of(3, 2),
        steps=4,
        schedule=cosine,
        objective=X0(),
        on_step=lambda i, x_0: calls.append((i, x_0)),
    )
    assert [i for i, _ in calls] == [0, 1, 2, 3]
    assert torch.equal(calls[-1][1], result)


@every_sampler
def test_videos_and_types_pass_through(sampler: Sampler) -> None:
    for dtype in (torch.float32, torch.float64):
        sample = sampler(Gaussian(), noise_of(2, 3, 1, 4, 4, dtype=dtype), steps=3, schedule=cosine, objective=X0())
        assert sample.dtype == dtype
        assert sample.shape == (2, 3, 1, 4, 4)


def test_half_precision_network_under_float32_noise() -> None:
    x_0 = torch.linspace(-0.5, 0.5, 8)[None]

    def denoise(x: Tensor, gamma: Tensor, latents: Tensor | None) -> tuple[Tensor, None]:
        return x_0.bfloat16(), None

    sample = ddim(denoise, noise_of(1, 8), steps=3, schedule=cosine, objective=X0())
    torch.testing.assert_close(sample, x_0.bfloat16().float(), check_dtype=False)


# --- levels and variances ------------------------------------------------------------------------------------------


def test_time_difference_is_counted_in_steps() -> None:
    def then(time_difference: float) -> list[float]:
        return [step[1].t for step in levels(10, linear, time_difference)]

    assert [step[0].t for step in levels(10, linear, 1.0)] == pytest.approx([1 - i / 10 for i in range(10)])
    assert then(0.0)[0] == pytest.approx(0.9)
    assert then(1.0)[0] == pytest.approx(0.8)
    assert then(0.0)[-1] == then(1.0)[-1] == then(1.0)[-2] == 0


def test_ancestral_variances() -> None:
    for now, then in levels(20, cosine):
        large, small = (ancestral_variance(now, then, small=small) for small in (False, True))
        assert large == pytest.approx(1 - now.gamma / then.gamma)
        # the small one is that of q(x' | x, x_0): precisions of x given x', and of x' given x_0, add up
        alpha = now.gamma / then.gamma
        assert small == pytest.approx(1 / (alpha / (1 - alpha) + 1 / (1 - then.gamma)), rel=1e-9)
        assert 0 <= small <= large <= 1
    assert ancestral_variance(Level(0.1, 0.8), Level(0.0, 1.0), small=True) == 0


class Rising(Schedule):
    def gamma(self, t: Tensor) -> Tensor:
        return 0.9 * t


@every_sampler
@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"steps": 0}, "steps=0 must be a whole number of at least 1"),
        ({"steps": 2.5}, "steps=2.5"),
        ({"time_difference": -1}, "time_difference=-1"),
        ({"time_difference": float("inf")}, "time_difference=inf"),
        ({"clip": 0.0}, "clip=0.0 must be positive"),
        ({"schedule": Rising()}, r"Rising\(\) gives gamma="),
        ({"noise": torch.zeros(2, 3, dtype=torch.float16)}, "noise is torch.float16"),
        ({"denoise": lambda x, gamma, latents: (x[:, :1], None)}, r"shape \(2, 1\) for x of shape \(2, 3\)"),
    ],
)
def test_options_that_make_no_sense_are_refused(sampler: Sampler, options: dict[str, Any], words: str) -> None:
    arguments: dict[str, Any] = {
        "denoise": Gaussian(),
        "noise": torch.zeros(2, 3),
        "steps": 3,
        "schedule": cosine,
    } | options
    with pytest.raises(InputError, match=words):
        sampler(**arguments)
