"""Where a RIN spends its computation: what is read and written at every step, and how that goes with the picture.

The thesis claims that computation goes to the more complex parts of a sample, and that what can be copied is copied.
Here both become numbers: the rank correlation of read attention with local complexity, and attention and error on what
moves against what stands still.
"""

import zlib
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from lightning_binding.rin.attention import record_attention
from lightning_binding.rin.core import Core
from lightning_binding.rin.diffusion import Diffusion
from lightning_binding.rin.sampling import Sampling
from lightning_binding.rin.tokens import Patches


class Trace(NamedTuple):
    """One run of a sampler, with what was read and written.

    Attributes:
        x_0: The estimate after every step, (S, B, …), in [-b, b].
        read: How much every interface token is read, (S, blocks, B, n), each row of tokens summing to 1.
        strongest: The latent that every token takes most from, (S, writes, B, n).
        certainty: Share of a token's write attention that goes to it, (S, writes, B, n), in [0, 1].
    """

    x_0: Tensor
    read: Tensor
    strongest: Tensor
    certainty: Tensor


@torch.no_grad()
def trace(
    network: Core,
    diffusion: Diffusion,
    sampling: Sampling,
    noise: Tensor,
    label: Tensor | None = None,
    context: Tensor | None = None,
    *,
    steps: int,
    generator: torch.Generator | None = None,
) -> Trace:
    """Samples, and keeps the attention of every step; of guided sampling the conditional branch.

    Args:
        network: A RIN in evaluation mode.
        diffusion: The process that it was trained on.
        sampling: How it is sampled.
        noise: Standard normal noise of the shape of the samples.
        label: Classes (B,), or None.
        context: Clean frames in [-b, b], or None.
        steps: Sampling steps S.
        generator: Source of the noise of stochastic samplers.

    Returns:
        The trace, on the CPU.
    """
    x_0s: list[Tensor] = []
    reads: list[Tensor] = []
    strongest: list[Tensor] = []
    certainty: list[Tensor] = []
    with record_attention(network) as maps:

        def note(step: int, x_0: Tensor) -> None:
            x_0s.append(x_0.cpu())
            reads.append(maps.computation(0).cpu())
            most = [weights.mean(1).max(-1) for weights in maps.write[0]]
            certainty.append(torch.stack([each.values for each in most]).cpu())
            strongest.append(torch.stack([each.indices for each in most]).cpu())
            maps.read.clear()
            maps.write.clear()

        sampling(network, diffusion, noise, label, context, steps=steps, generator=generator, on_step=note)
    return Trace(*[torch.stack(each) for each in (x_0s, reads, strongest, certainty)])


def gradient_energy(video: Tensor, patches: Patches) -> Tensor:
    """Mean squared difference of neighbouring pixels in every patch: (B, n) of pictures (B, T, C, H, W), uint8."""
    grey = video.float().div(255).mean(2, keepdim=True)
    down = F.pad(grey.diff(dim=-2), (0, 0, 0, 1))
    right = F.pad(grey.diff(dim=-1), (0, 1))
    energy = (down.square() + right.square()).expand(-1, -1, patches.channels, -1, -1)
    return patches.to_rows(energy).mean(-1)


def compressed_size(video: Tensor, patches: Patches) -> Tensor:
    """Bytes of every patch, its rows differenced as PNG does and deflated: (B, n) of uint8 pictures (B, T, C, H, W)."""
    left = F.pad(video, (1, 0))[..., :-1]
    rows = patches.to_rows(video - left)  # uint8 wraps around, as PNG's filter "sub"
    sizes = [[len(zlib.compress(row.numpy().tobytes(), 9)) for row in picture] for picture in rows.cpu()]
    return torch.tensor(sizes, dtype=torch.float32)


def rank_correlation(a: Tensor, b: Tensor) -> Tensor:
    """Spearman's correlation over the last axis, ties at their mean rank; 0 where one side is constant.

    Args:
        a: (..., n).
        b: (..., n), of a shape that broadcasts with the first.

    Returns:
        (...), in [-1, 1].
    """
    first, second = (_ranks(each) - (each.shape[-1] - 1) / 2 for each in (a, b))
    scale = first.square().sum(-1).sqrt() * second.square().sum(-1).sqrt()
    return torch.where(scale > 0, (first * second).sum(-1) / scale.clamp_min(1e-12), 0.0)


def _ranks(values: Tensor) -> Tensor:
    """Ranks from 0 along the last axis, equal values at the mean of theirs."""
    values = values.contiguous()
    ordered = values.sort(-1).values
    low = torch.searchsorted(ordered, values, right=False)
    high = torch.searchsorted(ordered, values, right=True)
    return (low + high - 1).double() / 2


def moving_tokens(video: Tensor, patches: Patches, threshold: float = 8 / 255) -> Tensor:
    """Which patches differ from the patch at the same place in the frame before the clip: (B, n), bool.

    Args:
        video: uint8 (B, 1 + T, C, H, W): the frame before, and the clip.
        patches: How the clip is cut.
        threshold: Largest difference of a pixel, of 1, that counts as none.
    """
    difference = (video[:, 1:].float() - video[:, :1].float()).abs().div(255)
    return patches.to_rows(difference).amax(-1) > threshold


def share_of(read: Tensor, chosen: Tensor) -> Tensor:
    """Read attention a token of `chosen` gets, over what a token gets in the mean.

    Args:
        read: (..., B, n), each row summing to 1.
        chosen: (B, n), bool.

    Returns:
        (...): 1 if read like any other; the mean over the examples that have chosen tokens, weighted by their number.
    """
    each = (read * read.shape[-1] * chosen).sum((-1, -2))
    return each / chosen.sum().clamp_min(1)


def error_by_complexity(error: Tensor, complexity: Tensor, parts: int = 4) -> Tensor:
    """Mean error of the tokens in each part of the order of complexity, simplest first: (parts,).

    Args:
        error: (B, n).
        complexity: (B, n).
        parts: Number of parts of equal size.
    """
    order = complexity.flatten().argsort(stable=True)
    return torch.stack([error.flatten()[part].mean() for part in order.tensor_split(parts)])
