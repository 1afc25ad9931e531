"""Strips: frames of a sequence side by side, with what was found in them, and below it the truth."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from lightning_binding.images import make_grid
from lightning_binding.masks import overlay


def spread(length: int, count: int) -> list[int]:
    """Up to `count` frames of a sequence at even distances, the first and the last among them."""
    return torch.linspace(0, length - 1, min(count, length)).round().long().tolist()


def strip(frames: Tensor, rows: Sequence[Tensor], height: int = 160) -> Tensor:
    """A grid of frames under tints, one row for each series of masks.

    Args:
        frames: uint8 (F, 3, H, W) in [0, 255].
        rows: Ids, uint8 (F, H, W) each; 0 leaves the frame as it is.
        height: Of a frame in the grid at most, in pixels.

    Returns:
        uint8 (3, H', W').
    """
    tinted = [overlay(frame, mask) for row in rows for frame, mask in zip(frames, row, strict=True)]
    return make_grid(_shrink(torch.stack(tinted), height), columns=len(frames))


def discs(points: Tensor, size: tuple[int, int]) -> Tensor:
    """Masks of discs around points, whose ids are 1, 2, … in the order of the points; later ones lie on top.

    Args:
        points: x and y in pixels, (F, K, 2); NaN leaves a point out.
        size: Height and width of the masks. A disc's radius is a fiftieth of the shorter side.

    Returns:
        Ids, uint8 (F, H, W).
    """
    height, width = size
    points = points.cpu()
    y, x = torch.arange(height)[:, None], torch.arange(width)
    masks = torch.zeros(len(points), height, width, dtype=torch.uint8)
    for number, (column, row) in enumerate(points.permute(1, 2, 0)[..., None, None], 1):
        masks[(x - column) ** 2 + (y - row) ** 2 <= max(1.0, min(size) / 50) ** 2] = number
    return masks


def _shrink(pictures: Tensor, height: int) -> Tensor:
    tall, wide = pictures.shape[-2:]
    if tall <= height:
        return pictures
    size = (height, max(1, round(wide * height / tall)))
    return F.interpolate(pictures.float(), size, mode="bilinear", antialias=True).round().to(torch.uint8)
