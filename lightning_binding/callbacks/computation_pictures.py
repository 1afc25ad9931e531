"""Pictures of adaptive computation: what is drawn, what is read of it, and which latent writes it."""

import torch
from torch import Tensor

from lightning_binding.callbacks.attention_pictures import colours, heat, side_by_side, spread_tokens
from lightning_binding.rin.computation import Trace
from lightning_binding.rin.computation_summary import as_video
from lightning_binding.rin.tokens import Patches


def draw_computation(trace: Trace, drawn: Tensor, patches: Patches, shown: int) -> list[Tensor]:
    """Frames of an animation, a row for each example: pictures through the sampling steps, videos through their frames.

    Args:
        trace: A run of the sampler.
        drawn: Its estimate after every step, uint8 (S, B, C, H, H) or (S, B, T, C, H, H).
        patches: How pictures are cut.
        shown: Examples, spread over the batch.

    Returns:
        uint8 (3, H', W') each; columns are the picture, the read attention of each block, and the latent from which a
        token takes most in the last.
    """
    last = as_video(drawn[-1])
    frames, size = last.shape[1], last.shape[-1]
    count = patches.count(frames, size, size)
    chosen = torch.linspace(0, len(last) - 1, min(shown, len(last))).round().long()
    grid = (-(-frames // patches.temporal), size // patches.spatial, size // patches.spatial)

    def maps(values: Tensor) -> Tensor:
        """Values (F, B, n) as maps over time."""
        values = values[:, chosen, :count]
        if frames > 1:
            return spread_tokens(values[0], grid, frames, size).movedim(1, 0)
        return spread_tokens(values, grid, 1, size)[:, :, 0]

    through = last.movedim(1, 0) if frames > 1 else drawn
    read = trace.read.mean(0, keepdim=True) if frames > 1 else trace.read
    strongest = trace.strongest[-1:] if frames > 1 else trace.strongest
    columns = [through[:, chosen], *[heat(maps(each)) for each in read.unbind(1)]]
    columns += [colours(maps(each)) for each in strongest.unbind(1)[-1:]]
    return [picture.repeat_interleave(2, -1).repeat_interleave(2, -2) for picture in side_by_side(columns)]
