"""Noise schedules: gamma(t), the share of the signal's variance that is left at diffusion time t.

The forward process is x_t = sqrt(gamma(t)) x_0 + sqrt(1 - gamma(t)) eps, with t in [0, 1] from data to noise
(arXiv 2212.11972). The families, with their temperatures, are those of arXiv 2301.10972.
Training and sampling need not use the same one: the original trains with `sigmoid` or `linear` and samples with
`cosine`.
"""

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor

from lightning_binding.errors import InputError

GAMMA_MIN = 1e-9  # the original's `clip_min`: the log of the signal stays finite at t = 1
_FLAT = 1e-6  # a curve that falls less than this before it is normalised is round-off in float32


class Schedule(ABC):
    """A non-increasing function gamma(t). A subclass writes `gamma`; users call the object."""

    def __call__(self, t: Tensor) -> Tensor:
        """gamma(t), computed in float32 or better.

        Args:
            t: Diffusion time in [0, 1], any shape and type.

        Returns:
            gamma in [0, 1], the shape of `t`; float64 if `t` is, else float32, since 1 - gamma would lose all its
            digits in half precision.
        """
        return self.gamma(t if t.dtype == torch.float64 else t.float())

    @abstractmethod
    def gamma(self, t: Tensor) -> Tensor:
        """The curve at t, a float32 or float64 tensor in [0, 1] of any shape."""

    def scaled(self, scale: float) -> "Scaled":
        """The schedule whose noise is that of data multiplied by `scale`: see `Scaled`."""
        return Scaled(self, scale)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in vars(self).items())})"


class ShiftedCosine(Schedule):
    """cos²(((t + 2e-4) / (1 + 2.5e-4)) π/2): the schedule with which RIN is sampled.

    It ends just short of 0 and 1 (6.2e-9 and 1 - 1e-7), so it needs no clipping.
    """

    def gamma(self, t: Tensor) -> Tensor:
        """cos²(((t + 2e-4) / (1 + 2.5e-4)) π/2), in (0, 1)."""
        return torch.cos((t + 2e-4) / (1 + 2.5e-4) * (math.pi / 2)) ** 2


class Cosine(Schedule):
    """cos^(2 temperature) between two points of its falling quarter, normalised to run from 1 to 0.

    Args:
        start: Where t = 0 lies on the curve, in [0, 1] of the quarter period.
        end: Where t = 1 lies.
        temperature: Exponent; above 1 there is more noise at every t.

    Raises:
        InputError: If `start` or `end` leave [0, 1], the curve is flat between them, or `temperature` is not positive.
    """

    def __init__(self, start: float = 0.0, end: float = 1.0, temperature: float = 1.0) -> None:
        _check_temperature(temperature)
        if not (0 <= start <= 1 and 0 <= end <= 1):
            raise InputError(
                f"start={start}, end={end} of a cosine schedule must lie in [0, 1], where the cosine falls from 1 to 0."
            )
        self.start, self.end, self.temperature = start, end, temperature
        _check_fall(self._curve(start) - self._curve(end), start, end, temperature)

    def gamma(self, t: Tensor) -> Tensor:
        """The normalised curve, in [1e-9, 1]."""
        angle = (t * (self.end - self.start) + self.start) * (math.pi / 2)
        curve = torch.cos(angle).clamp_min(0) ** (2 * self.temperature)  # cos(π/2) rounds below 0: NaN if not clamped
        high, low = self._curve(self.start), self._curve(self.end)
        return ((curve - low) / (high - low)).clamp(GAMMA_MIN, 1)

    def _curve(self, position: float) -> float:
        return float(max(math.cos(position * math.pi / 2), 0.0) ** (2 * self.temperature))


class Sigmoid(Schedule):
    """A stretch of the falling sigmoid, normalised to run from 1 to 0; it trains RIN more stably than the cosine.

    Args:
        start: Argument of the sigmoid, before the division by `temperature`, at t = 0.
        end: Argument at t = 1.
        temperature: Divides the argument; smaller is steeper.

    Raises:
        InputError: If the curve is flat between `start` and `end`, or `temperature` is not positive.
    """

    def __init__(self, start: float = -3.0, end: float = 3.0, temperature: float = 0.9) -> None:
        _check_temperature(temperature)
        self.start, self.end, self.temperature = start, end, temperature
        _check_fall(self._curve(end) - self._curve(start), start, end, temperature)

    def gamma(self, t: Tensor) -> Tensor:
        """The normalised curve, in [1e-9, 1]."""
        curve = torch.sigmoid((t * (self.end - self.start) + self.start) / self.temperature)
        high, low = self._curve(self.end), self._curve(self.start)
        return ((high - curve) / (high - low)).clamp(GAMMA_MIN, 1)

    def _curve(self, position: float) -> float:
        # tanh does not overflow where exp would
        return 0.5 * (1 + math.tanh(0.5 * position / self.temperature))


class Linear(Schedule):
    """1 - t, the simplest; the original's `simple_linear`."""

    def gamma(self, t: Tensor) -> Tensor:
        """The line 1 - t, in [1e-9, 1]."""
        return (1 - t).clamp(GAMMA_MIN, 1)


class Rectified(Schedule):
    """(1 - t)² / ((1 - t)² + t²): the signal-to-noise ratio of the straight path (1 - t) x_0 + t eps.

    With the objective `Flow` this is flow matching (arXiv 2210.02747, Eq. 23) on the path scaled to unit variance.
    """

    def gamma(self, t: Tensor) -> Tensor:
        """The ratio, in [1e-9, 1]."""
        signal = (1 - t) ** 2
        return (signal / (signal + t**2)).clamp(GAMMA_MIN, 1)


class Scaled(Schedule):
    """Another schedule with its log signal-to-noise ratio shifted by 2 log(scale).

    gamma' = scale² gamma / (scale² gamma + 1 - gamma): to unit-variance data it does what input scaling b = `scale`
    does after the division by the standard deviation (arXiv 2301.10972); it is the "shifted" schedule of
    arXiv 2301.11093.

    Args:
        schedule: The schedule that is shifted.
        scale: Factor on the data; below 1 there is more noise at every t.

    Raises:
        InputError: If `scale` is not positive.
    """

    def __init__(self, schedule: Schedule, scale: float) -> None:
        if not (scale > 0 and math.isfinite(scale)):
            raise InputError(f"scale={scale} of a schedule must be a positive number; 1 changes nothing.")
        self.schedule, self.scale = schedule, scale

    def gamma(self, t: Tensor) -> Tensor:
        """The shifted curve, in [1e-9, 1]."""
        gamma = self.schedule(t)
        signal = self.scale**2 * gamma
        return (signal / (signal + (1 - gamma))).clamp(GAMMA_MIN, 1)


def _check_temperature(temperature: float) -> None:
    if not (temperature > 0 and math.isfinite(temperature)):
        raise InputError(f"temperature={temperature} of a schedule must be a positive number; the paper's lie near 1.")


def _check_fall(fall: float, start: float, end: float, temperature: float) -> None:
    if not abs(fall) > _FLAT:
        raise InputError(
            f"the schedule is flat between start={start} and end={end} at temperature={temperature}: "
            "choose a start and an end that differ, or another temperature."
        )


cosine = ShiftedCosine()
sigmoid = Sigmoid()
linear = Linear()
rectified = Rectified()
