"""The noise levels that a sampler visits, in float64: few numbers, from which all its coefficients come."""

import math
from dataclasses import dataclass

import torch

from lightning_binding.errors import InputError
from lightning_binding.rin.objectives import VARIANCE_MIN
from lightning_binding.rin.schedules import Schedule


@dataclass(frozen=True)
class Level:
    """One noise level, in float64.

    Attributes:
        t: Diffusion time, in [0, 1].
        gamma: Share of the signal's variance, in [0, 1].
    """

    t: float
    gamma: float

    @property
    def signal(self) -> float:
        """sqrt(gamma), the factor on x_0."""
        return math.sqrt(self.gamma)

    @property
    def noise(self) -> float:
        """sqrt(1 - gamma), the factor on eps."""
        return math.sqrt(1 - self.gamma)

    @property
    def angle(self) -> float:
        """The angle phi of the arc (signal, noise) = (cos phi, sin phi), in [0, π/2]."""
        return math.atan2(self.noise, self.signal)

    @property
    def half_log_snr(self) -> float:
        """The half log signal-to-noise ratio, lambda = log(signal / noise), kept finite at both ends."""
        return 0.5 * (math.log(max(self.gamma, VARIANCE_MIN)) - math.log(max(1 - self.gamma, VARIANCE_MIN)))


def check_settings(steps: int, time_difference: float = 0.0) -> None:
    """Raises an `InputError` unless there is a step at least, and the time difference, in steps, is none or ahead."""
    if steps < 1 or steps != int(steps):
        raise InputError(f"steps={steps} must be a whole number of at least 1.")
    if not (time_difference >= 0 and math.isfinite(time_difference)):
        raise InputError(f"time_difference={time_difference} must be at least 0; it is counted in steps, 0 is none.")


def levels(steps: int, schedule: Schedule, time_difference: float = 0.0) -> list[tuple[Level, Level]]:
    """The pairs of levels of N steps: t = 1 - i / N, t' = max(1 - (i + 1 + td) / N, 0), i = 0 … N - 1.

    A time difference `td` above 0 aims past the next level: the asymmetric time intervals of Analog Bits
    (arXiv 2208.04202).

    Args:
        steps: N, at least 1.
        schedule: gamma(t).
        time_difference: td in steps, at least 0.

    Returns:
        The level that the network sees and the level that is stepped to, for each step.

    Raises:
        InputError: If `steps` or `time_difference` are out of range, or the schedule is none.
    """
    check_settings(steps, time_difference)
    now = [1 - i / steps for i in range(int(steps))]
    then = [max(1 - (i + 1 + time_difference) / steps, 0.0) for i in range(int(steps))]
    gamma_now = schedule(torch.tensor(now, dtype=torch.float64)).tolist()
    gamma_then = schedule(torch.tensor(then, dtype=torch.float64)).tolist()
    for t, gamma, gamma_next in zip(now, gamma_now, gamma_then, strict=True):
        if not 0 <= gamma < 1 or not gamma <= gamma_next <= 1:
            raise InputError(
                f"{schedule!r} gives gamma={gamma:.6g} at t={t:.6g} and {gamma_next:.6g} after it; expected values in "
                "[0, 1] that do not fall towards t = 0, and below 1 before it."
            )
    return [
        (Level(t, gamma), Level(t_next, gamma_next))
        for t, gamma, t_next, gamma_next in zip(now, gamma_now, then, gamma_then, strict=True)
    ]
