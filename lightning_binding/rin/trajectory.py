"""What all samplers share: their signature, the evaluations of the network, the latents between them."""

import math
from collections.abc import Callable, Iterator
from typing import Protocol

import torch
from torch import Tensor

from lightning_binding.errors import InputError
from lightning_binding.rin.levels import Level, levels
from lightning_binding.rin.objectives import VARIANCE_MIN, Decoded, Epsilon, Objective
from lightning_binding.rin.schedules import Schedule

# (x (B, ...), gamma (B,), latents of the evaluation before or None) -> (prediction (B, ...), latents)
Denoiser = Callable[[Tensor, Tensor, Tensor | None], tuple[Tensor, Tensor | None]]
OnStep = Callable[[int, Tensor], None]
EPSILON = Epsilon()


class Sampler(Protocol):
    """The signature of every sampler: see `samplers`."""

    def __call__(
        self,
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
        """Noise (B, ...) to x_0 (B, ...)."""


class Trajectory:
    """One run of a sampler: checks its options, walks down the levels, evaluates the network.

    Each evaluation is given the latents of the evaluation just before it, and the first is given None.

    Args:
        denoise: The network, `denoise(x, gamma, latents) -> (prediction, latents)`.
        noise: Standard normal noise, (B, ...), float32 or float64.
        steps: Number of steps N.
        schedule: gamma(t).
        objective: What the network predicts.
        clip: x_0 is clipped to [-clip, clip]; None clips nothing.
        time_difference: Steps that the target of each step lies ahead.
        generator: Source of the noise that is drawn on the way.
        on_step: Called with the index and the x_0 of each step.

    Raises:
        InputError: If an option makes no sense.
    """

    def __init__(
        self,
        denoise: Denoiser,
        noise: Tensor,
        steps: int,
        schedule: Schedule,
        objective: Objective,
        clip: float | None,
        time_difference: float,
        generator: torch.Generator | None,
        on_step: OnStep | None,
    ) -> None:
        if noise.dtype not in (torch.float32, torch.float64):
            raise InputError(
                f"noise is {noise.dtype}, expected float32 or float64: half precision cannot hold the small noise "
                "levels. Keep the noise in float32 and run the network under autocast."
            )
        if clip is not None and not clip > 0:
            raise InputError(f"clip={clip} must be positive, the largest |x_0| of the data, or None for no clipping.")
        self.denoise, self.objective, self.clip = denoise, objective, clip
        self.generator, self.on_step = generator, on_step
        self.latents: Tensor | None = None
        self.levels = levels(steps, schedule, time_difference)

    def __iter__(self) -> Iterator[tuple[int, Level, Level]]:
        """The steps: index, the level that the network sees, the level that is stepped to."""
        for index, (now, then) in enumerate(self.levels):
            yield index, now, then

    def evaluate(self, x: Tensor, level: Level) -> Decoded:
        """The network's x_0 at x (B, ...), clipped, and the eps that makes x of it."""
        gamma = torch.full((x.shape[0],), level.gamma, dtype=x.dtype, device=x.device)
        prediction, self.latents = self.denoise(x, gamma, self.latents)
        expected = self.objective.prediction_shape(x.shape)
        if prediction.shape != expected:
            raise InputError(
                f"denoise returned a prediction of shape {tuple(prediction.shape)} for x of shape {tuple(x.shape)}; "
                f"expected {'equal shapes' if expected == x.shape else tuple(expected)}, in a tuple (prediction, "
                "latents)."
            )
        x_0 = self.objective.decode(prediction, x, gamma).x_0
        if self.clip is not None:
            x_0 = x_0.clamp(-self.clip, self.clip)
        # eps is derived again: otherwise clipping would leave a pair that does not make x
        return Decoded(x_0, (x - level.signal * x_0) / math.sqrt(max(1 - level.gamma, VARIANCE_MIN)))

    def report(self, index: int, x_0: Tensor) -> None:
        """Tells `on_step` that step `index` was taken with the estimate x_0 (B, ...)."""
        if self.on_step is not None:
            self.on_step(index, x_0)

    def draw(self, x: Tensor) -> Tensor:
        """Standard normal noise like x; drawn on the generator's device, so that it can be the same on any device."""
        device = x.device if self.generator is None else self.generator.device
        return torch.randn(x.shape, generator=self.generator, dtype=x.dtype, device=device).to(x.device)
