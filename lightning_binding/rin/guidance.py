"""Classifier-free guidance on the interval of noise levels where it helps."""

import math

import torch
from torch import Tensor

from lightning_binding.errors import InputError
from lightning_binding.rin.trajectory import Denoiser


def check_guidance(scale: float, interval: tuple[float, float]) -> None:
    """Raises an `InputError` unless the scale is finite and the interval lies within [0, 1]."""
    low, high = interval
    if not math.isfinite(scale):
        raise InputError(f"scale={scale} of guidance must be a finite number; 0 is no guidance.")
    if not 0 <= low <= high <= 1:
        raise InputError(f"interval=({low}, {high}) of guidance must satisfy 0 <= low <= high <= 1: it is in gamma.")


def guided(
    conditional: Denoiser,
    unconditional: Denoiser,
    scale: float,
    interval: tuple[float, float] = (0.0, 1.0),
) -> Denoiser:
    """The denoiser (1 + w) conditional - w unconditional (arXiv 2207.12598, Eq. 6), within an interval of gamma.

    Outside of the interval the conditional branch alone is evaluated (arXiv 2404.07724): guidance harms diversity
    at small gamma and does little at large, where leaving it out saves an evaluation. Both branches are given the same
    latents; those of the conditional branch are returned. An interval other than (0, 1) makes the host wait for the
    value of `gamma` at every evaluation.

    Args:
        conditional: The network with the label.
        unconditional: The network with the null label.
        scale: w: 0 is the conditional prediction, -1 the unconditional.
        interval: Lowest and highest gamma, in [0, 1], at which guidance acts, both included; gamma, not time, so 0 is
            the side of the noise.

    Returns:
        A denoiser, to be given to any sampler.

    Raises:
        InputError: If `scale` is not finite or the interval is not within [0, 1].
    """
    check_guidance(scale, interval)
    low, high = interval
    if scale == 0:
        return conditional
    everywhere = low == 0 and high == 1

    def denoise(x: Tensor, gamma: Tensor, latents: Tensor | None) -> tuple[Tensor, Tensor | None]:
        prediction, latents_next = conditional(x, gamma, latents)
        inside = torch.ones_like(gamma, dtype=torch.bool) if everywhere else (gamma >= low) & (gamma <= high)
        if not everywhere and not bool(inside.any()):
            return prediction, latents_next
        other, _ = unconditional(x, gamma, latents)
        mixed = (1 + scale) * prediction - scale * other
        return torch.where(inside.view(-1, *[1] * (x.ndim - 1)), mixed, prediction), latents_next

    return denoise
