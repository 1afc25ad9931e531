"""Samplers of second order, for few steps. Arguments, and the rule for the latents, are in `samplers`.

The last step, and any other that goes to t' = 0, is of first order: there x_0 itself is the answer, and the
extrapolations below would divide by a noise of zero.
"""

import math

import torch
from torch import Tensor

from lightning_binding.rin.levels import Level
from lightning_binding.rin.objectives import Objective
from lightning_binding.rin.schedules import Schedule
from lightning_binding.rin.trajectory import EPSILON, Denoiser, OnStep, Trajectory


def dpmpp_2m(
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
    """DPM-Solver++(2M), deterministic, one evaluation a step (arXiv 2211.01095, Algorithm 2).

    A DDIM step with x_0 extrapolated from this evaluation and the one before.

    Arguments, returned value and errors: see `samplers`.
    """
    run = Trajectory(denoise, noise, steps, schedule, objective, clip, time_difference, generator, on_step)
    extrapolate = _Extrapolation()
    x = x_0 = noise
    for index, now, then in run:
        x_0, _ = run.evaluate(x, now)
        run.report(index, x_0)
        ratio = then.noise / now.noise
        x = ratio * x + (then.signal - now.signal * ratio) * extrapolate(x_0, now, then)
    return x_0


def dpmpp_2m_sde(
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
    """SDE-DPM-Solver++(2M), stochastic, one evaluation a step (arXiv 2211.01095).

    A DDPM step of small variance with x_0 extrapolated from this evaluation and the one before.

    Arguments, returned value and errors: see `samplers`.
    """
    run = Trajectory(denoise, noise, steps, schedule, objective, clip, time_difference, generator, on_step)
    extrapolate = _Extrapolation()
    x = x_0 = noise
    for index, now, then in run:
        x_0, _ = run.evaluate(x, now)
        run.report(index, x_0)
        ratio = then.noise / now.noise
        decay = ratio * now.signal / then.signal  # e^-h
        fresh = 1 - decay**2
        x = ratio * decay * x + then.signal * fresh * extrapolate(x_0, now, then)
        x = x + then.noise * math.sqrt(fresh) * run.draw(x)
    return x_0


def heun(
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
    """Heun's method, deterministic, two evaluations a step (2 N - 1 in all).

    The probability flow on the variance-preserving arc (signal, noise) = (cos phi, sin phi) is dx/dphi = v with
    v = cos phi eps - sin phi x_0 (arXiv 2202.00512, Appendix D): smooth at both ends, unlike in sigma or lambda (with
    `schedules.cosine` sigma starts at 1e4). Predictor: DDIM. Corrector: the trapezoid rule on v, with
    tan(Δ/2) for Δ/2, so that it is exact where x_0 and eps are constant, as DDIM is.

    Arguments, returned value and errors: see `samplers`.
    """
    run = Trajectory(denoise, noise, steps, schedule, objective, clip, time_difference, generator, on_step)
    x = x_0 = noise
    for index, now, then in run:
        x_0, eps = run.evaluate(x, now)
        run.report(index, x_0)
        predicted = then.signal * x_0 + then.noise * eps
        if then.t == 0:
            x = predicted
            continue
        x_0_then, eps_then = run.evaluate(predicted, then)
        v = now.signal * eps - now.noise * x_0
        v_then = then.signal * eps_then - then.noise * x_0_then
        x = x + math.tan((then.angle - now.angle) / 2) * (v + v_then)
    return x_0


class _Extrapolation:
    """x_0 carried half a step ahead along lambda = log(signal / noise), from the last two evaluations.

    D = x_0 + h / (2 h_before) (x_0 - x_0 before), with h the steps in lambda (arXiv 2211.01095, Algorithm 2).
    """

    def __init__(self) -> None:
        self.before: tuple[Tensor, Level] | None = None

    def __call__(self, x_0: Tensor, now: Level, then: Level) -> Tensor:
        """x_0 (B, ...) at `now`, for a step to `then`; the first step and one to t' = 0 take x_0 as it is."""
        before, self.before = self.before, (x_0, now)
        if before is None or then.t == 0:
            return x_0
        h = then.half_log_snr - now.half_log_snr
        h_before = now.half_log_snr - before[1].half_log_snr
        if h_before <= 0:  # two levels at the schedule's floor: the evaluations say nothing about a slope
            return x_0
        return x_0 + h / (2 * h_before) * (x_0 - before[0])
