"""What a report of adaptive computation says in numbers: errors, reading and writing beside what the pictures hold."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from lightning_binding.rin.computation import (
    Trace,
    compressed_size,
    error_by_complexity,
    gradient_energy,
    moving_tokens,
    rank_correlation,
    share_of,
)
from lightning_binding.rin.diffusion import Diffusion, Network
from lightning_binding.rin.objectives import add_noise
from lightning_binding.rin.tokens import Patches

COMPLEXITY = {"gradient": gradient_energy, "bytes": compressed_size}
TIMES = (0.2, 0.5, 0.8)
"""Diffusion times at which errors are taken."""


class Summary(NamedTuple):
    """Numbers, and what they are means of.

    Attributes:
        values: A number for each name.
        details: Lists of numbers, by part, or by sampling step and block.
    """

    values: dict[str, float]
    details: dict[str, Any]

    def __or__(self, other: "Summary") -> "Summary":
        """Both together."""
        return Summary(self.values | other.values, self.details | other.details)


def as_video(data: Tensor) -> Tensor:
    """Pictures (B, C, H, W) as clips of one frame; clips as they are."""
    return data[:, None] if data.ndim == 4 else data


def token_errors(
    network: Network,
    diffusion: Diffusion,
    patches: Patches,
    data: Tensor,
    given: Tensor | None = None,
    label: Tensor | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Mean squared error of the target in every token, over the noise levels of `TIMES`.

    Args:
        network: Any denoiser in evaluation mode; one that self-conditions is given the latents of a first pass.
        diffusion: The process that it was trained on.
        patches: How pictures are cut.
        data: uint8 (B, C, H, W) or (B, T, C, H, W), in [0, 255].
        given: Clean frames of the context, uint8, or None.
        label: Classes (B,), or None.
        generator: Source of the noise, on the device of the data.

    Returns:
        (B, n), on the CPU.
    """
    x_0 = diffusion.from_images(data)
    context = None if given is None else diffusion.from_images(given)
    errors = []
    for time in TIMES:
        gamma = diffusion.schedule(torch.full((len(data),), time, device=data.device))
        eps = torch.randn(x_0.shape, generator=generator, device=x_0.device)
        x = diffusion.network_input(add_noise(x_0, eps, gamma))
        latents = network(x, gamma, label, None, context)[1] if diffusion.self_conditioning > 0 else None
        prediction = network(x, gamma, label, latents, context)[0]
        assert prediction is not None
        target = diffusion.objective.target(x_0, eps, gamma)
        errors.append(patches.to_rows(as_video((prediction.float() - target).square())).mean(-1))
    return torch.stack(errors).mean(0).cpu()


def summarize_errors(error: Tensor, data: Tensor, patches: Patches) -> Summary:
    """The error of the simplest and of the most complex quarter of the tokens.

    Args:
        error: (B, n).
        data: The pictures or clips, uint8.
        patches: How they are cut.
    """
    found = Summary({}, {})
    for name, measure in COMPLEXITY.items():
        quarters = error_by_complexity(error, measure(as_video(data).cpu(), patches))
        ends = {f"error_simple_{name}": float(quarters[0]), f"error_complex_{name}": float(quarters[-1])}
        found |= Summary(ends, {f"error_by_{name}_quarter": quarters.tolist()})
    return found


def summarize_reading(trace: Trace, drawn: Tensor, patches: Patches) -> Summary:
    """How reading goes with the complexity of what is drawn, and how sure writing is.

    Args:
        trace: A run of the sampler.
        drawn: Its samples, uint8 (B, C, H, W) or (B, T, C, H, W).
        patches: How they are cut.
    """
    noisy = patches.count(as_video(drawn).shape[1], *drawn.shape[-2:])
    certainty = trace.certainty[..., :noisy].mean((-1, -2))
    found = Summary({}, {"certainty_of_writing_by_step_and_block": certainty.tolist()})
    for name, measure in COMPLEXITY.items():
        complexity = measure(as_video(drawn), patches)
        table = rank_correlation(trace.read[..., :noisy], complexity).mean(-1)  # (S, blocks)
        values = {f"read_{name}_block{block}": float(each) for block, each in enumerate(table.mean(0))}
        values[f"read_{name}"] = float(table.mean())
        found |= Summary(values, {f"read_{name}_by_step_and_block": table.tolist()})
    return found


def summarize_motion(trace: Trace, drawn: Tensor, data: Tensor, given: Tensor, patches: Patches) -> Summary:
    """How much is read of what moves, stands still and was given, and the error on the first two.

    Args:
        trace: A run of the sampler.
        drawn: Its clips, uint8 (B, T, C, H, W).
        data: What they should have been.
        given: The frames before them, uint8 (B, T', C, H, W).
        patches: How clips are cut.

    Returns:
        Reading as a multiple of what a token is read in the mean, and the peak signal-to-noise ratio in dB of the
        clips, and of the last given frame in their place.
    """
    noisy, last = patches.count(drawn.shape[1], *drawn.shape[-2:]), given[:, -1:]
    moving = moving_tokens(torch.cat([last, data], 1), patches)
    read, tokens = trace.read[..., :noisy], trace.read.shape[-1]
    among = read / read.sum(-1, keepdim=True)
    shares = {"moving": share_of(among, moving), "static": share_of(among, ~moving)}
    shares["given"] = trace.read[..., noisy:].sum(-1).mean(-1) * tokens / (tokens - noisy)
    values = {f"read_{name}": float(share.mean()) for name, share in shares.items()}
    for name, clip in (("", drawn), ("copy_", last.expand_as(data))):
        error = patches.to_rows((clip.float() - data.float()).div(255).square()).mean(-1)
        for part, chosen in (("moving", moving), ("static", ~moving)):
            values[f"{name}psnr_{part}"] = float(-10 * error[chosen].mean().clamp_min(1e-10).log10())
    details: dict[str, Any] = {f"read_{name}_by_step_and_block": share.tolist() for name, share in shares.items()}
    return Summary(values, {**details, "share_of_moving_tokens": float(moving.float().mean())})
