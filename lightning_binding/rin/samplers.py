"""Samplers: plain functions of one signature, from noise to data.

The ancestral ones reproduce the original code's (arXiv 2212.11972); those for few steps are in `few_step`.
All take the network as `denoise(x, gamma, latents) -> (prediction, latents)` and return the x_0 of their last
evaluation, clipped.

Latents: RIN is warm-started by the latents of an earlier evaluation. In every sampler that is the evaluation just
before, whatever its role: in Heun's method the corrector gets the latents of the predictor, and the next step those of
the corrector. The first evaluation is given None. With guidance, both branches get the same latents, and those of the
conditional branch go on (`guidance`).

Gradients flow through a sampler; wrap it in `torch.no_grad()` where they are not wanted.

Arguments of every sampler:
    denoise: The network: from x (B, ...), gamma (B,) in [0, 1] of x's type, and latents or None, to the prediction
        (B, ...) and latents.
    noise: Standard normal noise, (B, ...), float32 or float64.
    steps: Steps N; the network sees t = 1, 1 - 1/N, …, 1/N.
    schedule: gamma(t); it need not be that of training.
    objective: What the network predicts.
    clip: x_0 is clipped to [-clip, clip] at every evaluation: the b of input scaling; None clips nothing.
    time_difference: Steps that the target of each step is moved ahead (`td` of the original code); 0 is none.
    generator: Source of all noise that is drawn on the way. It may live on another device than `noise`.
    on_step: Called as `on_step(i, x_0)` once a step, i = 0 … N - 1.
"""

import math

import torch
from torch import Tensor

from lightning_binding.rin.few_step import dpmpp_2m, dpmpp_2m_sde, heun
from lightning_binding.rin.guidance import guided
from lightning_binding.rin.levels import Level
from lightning_binding.rin.objectives import Objective
from lightning_binding.rin.schedules import Schedule
from lightning_binding.rin.trajectory import EPSILON, Denoiser, OnStep, Sampler, Trajectory

__all__ = [
    "SAMPLERS",
    "Denoiser",
    "Sampler",
    "ddim",
    "ddpm",
    "ddpm_small",
    "dpmpp_2m",
    "dpmpp_2m_sde",
    "guided",
    "heun",
]


def ddim(
    denoise: Denoiser,
    noise: Tensor,
    *,
    steps: int,
    schedule: Schedule,
    objective: Objective = EPSILON,
    clip: float | None = 1.0,
    time_difference: float = 0.0,
    generator: torch.Generator | None = None,
    on_step: OnStep | None = None,
) -> Tensor:
    """DDIM, deterministic and of first order: x' = sqrt(gamma') x_0 + sqrt(1 - gamma') eps (arXiv 2010.02502, Eq. 12).

    Arguments, returned value and errors: see the module.
    """
    run = Trajectory(denoise, noise, steps, schedule, objective, clip, time_difference, generator, on_step)
    x = x_0 = noise
    for index, now, then in run:
        x_0, eps = run.evaluate(x, now)
        run.report(index, x_0)
        x = then.signal * x_0 + then.noise * eps
    return x_0


def ddpm(
    denoise: Denoiser,
    noise: Tensor,
    *,
    steps: int,
    schedule: Schedule,
    objective: Objective = EPSILON,
    clip: float | None = 1.0,
    time_difference: float = 0.0,
    generator: torch.Generator | None = None,
    on_step: OnStep | None = None,
) -> Tensor:
    """DDPM with the large variance 1 - gamma / gamma', right for data of unit variance: the paper's sampler.

    Arguments, returned value and errors: see the module.
    """
    run = Trajectory(denoise, noise, steps, schedule, objective, clip, time_difference, generator, on_step)
    return _ancestral(run, noise, small=False)


def ddpm_small(
    denoise: Denoiser,
    noise: Tensor,
    *,
    steps: int,
    schedule: Schedule,
    objective: Objective = EPSILON,
    clip: float | None = 1.0,
    time_difference: float = 0.0,
    generator: torch.Generator | None = None,
    on_step: OnStep | None = None,
) -> Tensor:
    """DDPM with the small variance, that of the posterior q(x' | x, x_0), right where x_0 is known.

    Arguments, returned value and errors: see the module.
    """
    run = Trajectory(denoise, noise, steps, schedule, objective, clip, time_difference, generator, on_step)
    return _ancestral(run, noise, small=True)


def _ancestral(run: Trajectory, noise: Tensor, *, small: bool) -> Tensor:
    """Both DDPMs: x' = mean of q(x' | x, x_0) + deviation z (arXiv 2006.11239, Eq. 7)."""
    x = x_0 = noise
    for index, now, then in run:
        x_0, _ = run.evaluate(x, now)
        run.report(index, x_0)
        alpha = now.gamma / then.gamma
        mean = (math.sqrt(alpha) * (1 - then.gamma) * x + then.signal * (1 - alpha) * x_0) / (1 - now.gamma)
        x = mean + math.sqrt(ancestral_variance(now, then, small=small)) * run.draw(x)
    return x_0


def ancestral_variance(now: Level, then: Level, *, small: bool) -> float:
    """Variance of a DDPM step: large, 1 - gamma / gamma'; small, that times (1 - gamma') / (1 - gamma).

    Args:
        now: The level that is left.
        then: The level that is stepped to, with the larger gamma.
        small: Which of the two.

    Returns:
        The variance, in [0, 1].
    """
    large = 1 - now.gamma / then.gamma
    return large * (1 - then.gamma) / (1 - now.gamma) if small else large


SAMPLERS: dict[str, Sampler] = {
    "ddim": ddim,
    "ddpm": ddpm,
    "ddpm_small": ddpm_small,
    "dpmpp_2m": dpmpp_2m,
    "dpmpp_2m_sde": dpmpp_2m_sde,
    "heun": heun,
}
