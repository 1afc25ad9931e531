"""Pictures of attention: tokens as patches of colour beside the picture that they stand for."""

from collections.abc import Iterator

import numpy as np
import torch
from matplotlib import colormaps
from torch import Tensor

from lightning_binding.images import make_grid
from lightning_binding.masks import PALETTE


def spread_tokens(values: Tensor, grid: tuple[int, int, int], frames: int, size: int) -> Tensor:
    """Values of tokens over the pixels of their patches.

    Args:
        values: (..., t h w).
        grid: Number of patches (t, h, w).
        frames: Frames T of the clip, of which the last patch may cover fewer.
        size: Height and width H of the frames in pixels.

    Returns:
        (..., T, H, H), of the type of the values.
    """
    time, rows, columns = grid
    maps = values.reshape(*values.shape[:-1], time, rows, columns)
    maps = maps.repeat_interleave(-(-frames // time), -3)[..., :frames, :, :]
    return maps.repeat_interleave(size // rows, -2).repeat_interleave(size // columns, -1)


def heat(maps: Tensor) -> Tensor:
    """Maps (..., H, W) in colours, uint8 (..., 3, H, W); black is nothing, the brightest 2.5 times the mean."""
    table = torch.from_numpy((colormaps["inferno"](np.arange(256))[:, :3] * 255).astype(np.uint8))
    level = (maps / maps.mean((-1, -2), keepdim=True).clamp_min(1e-12) / 2.5).clamp(0, 1)
    return table[(level * 255).long()].movedim(-1, -3)


def colours(ids: Tensor) -> Tensor:
    """Numbers (..., H, W) as colours, uint8 (..., 3, H, W), a colour for each."""
    return torch.from_numpy(PALETTE)[1 + ids.long() % 254].movedim(-1, -3)


def side_by_side(columns: list[Tensor]) -> Iterator[Tensor]:
    """Frames of an animation: a row for each example, a column for each series.

    Args:
        columns: Series of pictures, uint8 (F, B, 3, H, W) each.

    Yields:
        uint8 (3, H', W'), F of them.
    """
    for frames in zip(*columns, strict=True):
        yield make_grid(torch.stack(frames, 1).flatten(0, 1), len(columns))
