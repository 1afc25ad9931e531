"""How a trained network is sampled: the sampler, its steps, guidance."""

import importlib
from collections.abc import Callable

import torch
from torch import Tensor

from lightning_binding.errors import InputError
from lightning_binding.names import did_you_mean
from lightning_binding.rin.diffusion import Diffusion, Network
from lightning_binding.rin.guidance import check_guidance, guided
from lightning_binding.rin.levels import check_settings
from lightning_binding.rin.samplers import SAMPLERS, Denoiser, Sampler
from lightning_binding.rin.schedules import Schedule, ShiftedCosine


class Carry:
    """Latents between two runs of a sampler, such as the windows of a long video.

    Attributes:
        latents: What the first evaluation of the next run is given, (B, m, D); None is nothing.
        last: What the last evaluation returned.
    """

    def __init__(self) -> None:
        self.latents: Tensor | None = None
        self.last: Tensor | None = None


class Sampling:
    """The settings of a sampler, and its call.

    Args:
        sampler: Name in `rin.samplers.SAMPLERS` (`ddim`, `ddpm`, `heun`, …), or the import path of a function of their
            signature, such as `my_package.my_sampler`.
        steps: Sampling steps.
        schedule: gamma(t) in sampling, which need not be that of training; None is the original's cosine.
        guidance: Scale w in (1 + w) conditional - w unconditional; 0 is none.
        guidance_interval: The part of gamma in [0, 1] in which guidance acts.
        time_difference: Steps that the target of each step is moved ahead, `td` in Analog Bits.
        clip: Clip x_0 to the range of the data at every step.

    Raises:
        InputError: If the sampler is unknown or a setting out of range.
    """

    def __init__(
        self,
        sampler: str = "ddim",
        steps: int = 50,
        schedule: Schedule | None = None,
        guidance: float = 0.0,
        guidance_interval: tuple[float, float] = (0.0, 1.0),
        time_difference: float = 0.0,
        clip: bool = True,
    ) -> None:
        find_sampler(sampler)
        check_settings(steps, time_difference)
        check_guidance(guidance, guidance_interval)
        self.sampler, self.steps, self.schedule = sampler, steps, schedule or ShiftedCosine()
        self.guidance, self.guidance_interval = guidance, guidance_interval
        self.time_difference, self.clip = time_difference, clip

    @torch.no_grad()
    def __call__(
        self,
        network: Network,
        diffusion: Diffusion,
        noise: Tensor,
        label: Tensor | None = None,
        context: Tensor | None = None,
        *,
        steps: int | None = None,
        generator: torch.Generator | None = None,
        on_step: Callable[[int, Tensor], None] | None = None,
        carry: "Carry | None" = None,
    ) -> Tensor:
        """Samples.

        Args:
            network: The denoiser.
            diffusion: The process that it was trained on.
            noise: Standard normal noise of the shape of the samples.
            label: Classes (B,); None is the null label.
            context: Clean frames.
            steps: Overrides `self.steps`.
            generator: Source of the noise of stochastic samplers.
            on_step: Called with the index and the estimate of x_0 after every step.
            carry: Latents that the first step starts from; afterwards it holds those of the last.

        Returns:
            x_0 in [-b, b], of the shape of `noise`.
        """
        conditioned = diffusion.self_conditioning > 0  # latents that training never saw are not to be trusted
        carry = carry or Carry()

        def denoiser(label: Tensor | None) -> Denoiser:
            def denoise(x: Tensor, gamma: Tensor, latents: Tensor | None) -> tuple[Tensor, Tensor | None]:
                latents = carry.latents if latents is None and conditioned else latents
                prediction, latents, _ = network(diffusion.network_input(x), gamma, label, latents, context)
                assert prediction is not None
                return prediction.float(), latents if conditioned else None

            return denoise

        def conditional(x: Tensor, gamma: Tensor, latents: Tensor | None) -> tuple[Tensor, Tensor | None]:
            prediction, latents = given(x, gamma, latents)
            carry.last = latents
            return prediction, latents

        given = denoiser(label)
        denoise: Denoiser = conditional
        if self.guidance != 0 and label is not None:
            denoise = guided(denoise, denoiser(None), self.guidance, self.guidance_interval)
        x_0 = find_sampler(self.sampler)(
            denoise,
            noise,
            steps=self.steps if steps is None else steps,
            schedule=self.schedule,
            objective=diffusion.objective,
            clip=diffusion.input_scale if self.clip else None,
            time_difference=self.time_difference,
            generator=generator,
            on_step=on_step,
        )
        carry.latents = carry.last
        return x_0


def find_sampler(name: str) -> Sampler:
    """The sampler of a name in `SAMPLERS`, or of an import path.

    Raises:
        InputError: If there is none.
    """
    if name in SAMPLERS:
        return SAMPLERS[name]
    module, dot, function = name.rpartition(".")
    try:
        found: Sampler | None = getattr(importlib.import_module(module), function) if dot else None
    except (ImportError, AttributeError):
        found = None
    if not callable(found):
        raise InputError(f"unknown sampler {name!r}{did_you_mean(name, SAMPLERS)}")
    return found
