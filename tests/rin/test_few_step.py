"""Few-step samplers against second implementations and each other."""

import itertools
import math
from typing import Any

import pytest
import torch
from torch import Tensor

from lightning_binding.rin.objectives import X0
from lightning_binding.rin.samplers import Sampler, ddim, ddpm_small, dpmpp_2m, dpmpp_2m_sde, heun
from lightning_binding.rin.schedules import Schedule, cosine, rectified, sigmoid

schedules = pytest.mark.parametrize("schedule", [cosine, sigmoid, rectified], ids=repr)


def noise_of(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def denoise(x: Tensor, gamma: Tensor, latents: Tensor | None) -> tuple[Tensor, None]:
    """Some x_0 that is neither linear nor constant: the posterior mean of data that is -1 or 1."""
    return torch.tanh(gamma.sqrt()[:, None] * x / (1 - gamma)[:, None]), None


def grid(schedule: Schedule, steps: int) -> list[float]:
    """Sigma = noise / signal of the variance-exploding form at t = 1, …, 1 / N, and 0."""
    gamma = schedule(torch.linspace(1, 0, steps + 1, dtype=torch.float64)[:-1])
    return [*((1 - gamma) / gamma).sqrt().tolist(), 0.0]


def exploding(y: Tensor, sigma: float) -> Tensor:
    """The same x_0 from y = x / signal."""
    gamma = 1 / (1 + sigma**2)
    return denoise(math.sqrt(gamma) * y, torch.full((y.shape[0],), gamma, dtype=y.dtype), None)[0]


@schedules
@pytest.mark.parametrize("steps", [1, 2, 3, 12])
@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_2m_is_k_diffusions_in_the_exploding_form(schedule: Schedule, steps: int, eta: float) -> None:
    """k-diffusion's `sample_dpmpp_2m_sde` (midpoint), written for y = x / signal; eta = 0 is `sample_dpmpp_2m`."""
    noise = noise_of(4, 5)
    sigmas = grid(schedule, steps)
    generator = torch.Generator().manual_seed(2)
    y = noise * math.sqrt(1 + sigmas[0] ** 2)
    denoised_before, h_before = None, 0.0
    for sigma, sigma_next in itertools.pairwise(sigmas):
        denoised = exploding(y, sigma)
        if sigma_next == 0:
            y = denoised
            continue
        h = math.log(sigma) - math.log(sigma_next)
        y = sigma_next / sigma * math.exp(-h * eta) * y - math.expm1(-h - h * eta) * denoised
        if denoised_before is not None:
            y = y - 0.5 * math.expm1(-h - h * eta) * (h / h_before) * (denoised - denoised_before)
        if eta:
            z = torch.randn(y.shape, generator=generator, dtype=y.dtype)
            y = y + sigma_next * math.sqrt(-math.expm1(-2 * h * eta)) * z
        denoised_before, h_before = denoised, h
    sampler = dpmpp_2m_sde if eta else dpmpp_2m
    sample = sampler(
        denoise,
        noise,
        steps=steps,
        schedule=schedule,
        objective=X0(),
        clip=None,
        generator=torch.Generator().manual_seed(2),
    )
    torch.testing.assert_close(sample, y, rtol=1e-6, atol=1e-8)


@schedules
def test_two_steps_of_2m_are_ddim(schedule: Schedule) -> None:
    """The first step has nothing to extrapolate from, and the last is of first order."""
    arguments: dict[str, Any] = {"steps": 2, "schedule": schedule, "objective": X0()}
    torch.testing.assert_close(
        dpmpp_2m(denoise, noise_of(3, 4), **arguments), ddim(denoise, noise_of(3, 4), **arguments)
    )


def test_2m_sde_with_a_constant_x_0_takes_the_steps_of_ddpm_small() -> None:
    x_0 = noise_of(3, 4).tanh()

    def inputs(sampler: Sampler) -> Tensor:
        seen: list[Tensor] = []

        def constant(x: Tensor, gamma: Tensor, latents: Tensor | None) -> tuple[Tensor, None]:
            seen.append(x)
            return x_0, None

        generator = torch.Generator().manual_seed(3)
        sampler(constant, noise_of(3, 4), steps=7, schedule=sigmoid, objective=X0(), generator=generator)
        return torch.stack(seen)

    torch.testing.assert_close(inputs(dpmpp_2m_sde), inputs(ddpm_small))


def test_heun_is_the_trapezoid_rule_on_the_arc() -> None:
    """A step from phi to phi' solves x'' = -x (constant x_0 and eps) exactly, and weighs both velocities equally."""
    seen: list[tuple[float, Tensor, Tensor]] = []

    def recording(x: Tensor, gamma: Tensor, latents: Tensor | None) -> tuple[Tensor, None]:
        x_0, _ = denoise(x, gamma, None)
        level = gamma[0].item()
        v = (math.sqrt(level) * x - x_0) / math.sqrt(1 - level)
        seen.append((math.acos(math.sqrt(level)), x, v))
        return x_0, None

    heun(recording, noise_of(3, 4), steps=3, schedule=rectified, objective=X0(), clip=None)
    (phi, x, v), (phi_next, predicted, v_next), (_, x_next, _) = seen[:3]
    delta = phi_next - phi
    torch.testing.assert_close(predicted, math.cos(delta) * x + math.sin(delta) * v)
    torch.testing.assert_close(x_next, x + math.tan(delta / 2) * (v + v_next))
    assert len(seen) == 5  # 2 N - 1


def test_samples_of_two_points_lie_on_them() -> None:
    """The flow sends the noise to the point of its sign; a few steps of each solver agree on which."""
    noise = noise_of(200, 1)
    noise = noise[noise.abs() > 0.05][:, None]
    for sampler in (dpmpp_2m, heun, ddim):
        sample = sampler(denoise, noise, steps=12, schedule=cosine, objective=X0())
        torch.testing.assert_close(sample, noise.sign(), rtol=0, atol=1e-3)
