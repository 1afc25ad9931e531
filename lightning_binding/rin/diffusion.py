"""Training a RIN as a diffusion model: noise, latent self-conditioning, and the loss.

Follows section 3 of the paper (arXiv 2212.11972) and `models/image_diffusion_model.py` of the original code; input
scaling is that of arXiv 2301.10972. torch only: it is used without Lightning too.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from lightning_binding.errors import InputError
from lightning_binding.rin.bits import AnalogBits
from lightning_binding.rin.objectives import Objective, add_noise
from lightning_binding.rin.schedules import Schedule

# (x, gamma, label, latents, context, readout=True) -> (prediction, latents or None, interface or None)
Network = Callable[..., tuple[Tensor | None, Tensor | None, Tensor | None]]


class Losses(NamedTuple):
    """The loss of each example.

    Attributes:
        loss: Mean squared error of each example's target, (B,).
        t: Diffusion time of each example, (B,).
    """

    loss: Tensor
    t: Tensor


class Diffusion:
    """The process x_t = sqrt(gamma) x_0 + sqrt(1 - gamma) eps, and the loss of a network on it.

    Args:
        schedule: gamma(t) in training.
        objective: What the network predicts, and the loss compares.
        input_scale: Factor b on the data, x_0 = b (2 image - 1); below 1 it moves the process towards noise.
        normalize_input: Divide the network's input by its standard deviation, for each example (with b < 1).
        self_conditioning: Share of training examples that see the latents of a first pass.
        label_dropout: Share of training examples whose label is replaced by the null label.
        bits: How pictures are written as analog bits, whose size takes the place of `input_scale`; None: as they are.

    Raises:
        InputError: If the input scale is not positive or a share lies outside [0, 1].
    """

    def __init__(
        self,
        schedule: Schedule,
        objective: Objective,
        input_scale: float = 1.0,
        normalize_input: bool = False,
        self_conditioning: float = 0.9,
        label_dropout: float = 0.0,
        bits: AnalogBits | None = None,
    ) -> None:
        if not (input_scale > 0 and math.isfinite(input_scale)):
            raise InputError(f"input_scale={input_scale} must be positive; 1 leaves the data in [-1, 1].")
        for name, share in (("self_conditioning", self_conditioning), ("label_dropout", label_dropout)):
            if not 0 <= share <= 1:
                raise InputError(f"{name}={share} must be a share of the examples, in [0, 1].")
        self.schedule, self.objective = schedule, objective
        self.input_scale, self.normalize_input = input_scale, normalize_input
        self.self_conditioning, self.label_dropout = self_conditioning, label_dropout
        self.bits = bits

    def from_images(self, images: Tensor) -> Tensor:
        """x_0 in [-b, b] from images in [0, 255] (uint8 or float), any shape; of bits (..., C width, H, W)."""
        if self.bits is not None:
            return self.bits.encode_images(images)
        return (images.float() / 127.5 - 1) * self.input_scale

    def to_images(self, x_0: Tensor) -> Tensor:
        """uint8 images from x_0 in [-b, b], any shape."""
        if self.bits is not None:
            return self.bits.decode_images(x_0)
        return ((x_0 / self.input_scale + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)

    def network_input(self, x_t: Tensor) -> Tensor:
        """x_t as the network sees it: of unit standard deviation for each example if `normalize_input`."""
        if not self.normalize_input:
            return x_t
        deviation = x_t.float().flatten(1).std(dim=1, correction=0)
        return x_t / deviation.clamp_min(1e-9).view(-1, *[1] * (x_t.ndim - 1))

    def losses(
        self,
        network: Network,
        x_0: Tensor,
        label: Tensor | None = None,
        context: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Losses:
        """Draws t and eps and returns the loss of every example.

        The latents of a first pass at the same x_t, without gradient, are given to the second; in a share
        1 - `self_conditioning` of the examples they are set to zero, each example by itself.

        Args:
            network: A `RIN` or anything with its call.
            x_0: Clean data, (B, C, H, W) or (B, T, C, H, W), in [-b, b].
            label: Classes (B,), or None.
            context: Clean frames, or None.
            generator: Source of every draw, on the device of `x_0`.
        """
        batch = x_0.shape[0]

        def uniform() -> Tensor:
            return torch.rand(batch, device=x_0.device, generator=generator)

        t = uniform()
        gamma = self.schedule(t)
        eps = torch.randn(x_0.shape, device=x_0.device, generator=generator)
        x_t = add_noise(x_0, eps, gamma)
        if label is not None and self.label_dropout > 0:
            label = label.masked_fill(uniform() < self.label_dropout, -1)
        x = self.network_input(x_t)
        latents = None
        if self.self_conditioning > 0:
            with torch.no_grad():
                latents = network(x, gamma, label, None, context, readout=False)[1]
            if latents is None:
                raise InputError("the network returns no latents to condition on: set self_conditioning to 0.")
            kept = (uniform() < self.self_conditioning).to(latents.dtype)
            latents = latents * kept[:, None, None]
        prediction = network(x, gamma, label, latents, context)[0]
        assert prediction is not None
        target = self.objective.target(x_0, eps, gamma)
        return Losses(self.objective.loss(prediction.float(), target), t)
