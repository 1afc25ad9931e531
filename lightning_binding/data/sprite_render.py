"""Drawing sprites over a moving background, with exact masks."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from lightning_binding.data.clipset import Clip
from lightning_binding.data.sprite_motion import Tracks

BLOCK = 8
"""Frames that are drawn at once; bounds the memory of long sequences."""


class Scene(NamedTuple):
    """All that a clip shows.

    Attributes:
        height: Of the frames.
        width: Of the frames.
        background: float32 `(3, h, w)` in [0, 255], as large as the frame or larger.
        camera: Left and upper edge of the frame on the background in each frame, in pixels, `(T, 2)`.
        tiles: The K sprites from the lowest to the topmost, float32 `(4, n, n)` in [0, 255], each colour times alpha.
        tracks: Their motion.
    """

    height: int
    width: int
    background: Tensor
    camera: npt.NDArray[np.float64]
    tiles: list[Tensor]
    tracks: Tracks


def warp(image: Tensor, matrix: Tensor, rows: tuple[int, int], columns: tuple[int, int]) -> Tensor:
    """Resample an image by affine maps, bilinearly; outside of it is 0.

    Args:
        image: `(C, h, w)`.
        matrix: `(T, 2, 3)`: from the place of an output pixel, x and y, to a place in the image; both in pixels, where
            the centre of the first one is at 0.5.
        rows: First row of the output, and the row after its last.
        columns: The same for columns.

    Returns:
        `(T, C, rows, columns)`.
    """
    count, (height, width) = len(matrix), image.shape[-2:]
    y = torch.arange(*rows, dtype=torch.float32) + 0.5
    x = torch.arange(*columns, dtype=torch.float32) + 0.5
    scale = torch.tensor([2 / width, 2 / height])[:, None]
    across, down, start = (matrix * scale).unbind(-1)
    place = across[:, None, None] * x[:, None] + (down[:, None] * y[:, None] + start[:, None] - 1)[:, :, None]
    return grid_sample(image.expand(count, *image.shape), place, align_corners=False)


def placement(tile: int, tracks: Tracks, which: int, start: int, stop: int) -> npt.NDArray[np.float64]:
    """The maps `(T, 2, 3)` from places in the frame to places in a square tile of `tile` pixels."""
    x, y, angle, side = (values[which, start:stop] for values in tracks)
    cos, sin = np.cos(angle) * tile / side, np.sin(angle) * tile / side
    rows = [[cos, sin, tile / 2 - cos * x - sin * y], [-sin, cos, tile / 2 + sin * x - cos * y]]
    return np.array(rows).transpose(2, 0, 1)


def bounds(centre: npt.NDArray[np.float64], reach: npt.NDArray[np.float64], size: int) -> tuple[int, int]:
    """The first pixel of `[0, size)` that is within reach of a centre in some frame, and the one after the last."""
    low, high = np.floor((centre - reach).min()) - 1, np.ceil((centre + reach).max()) + 1
    return int(np.clip(low, 0, size)), int(np.clip(high, 0, size))


def render(scene: Scene, start: int = 0, stop: int | None = None) -> Clip:
    """Draw frames of a scene.

    A pixel belongs to the topmost sprite that covers at least half of it.

    Args:
        scene: What to draw.
        start: First frame.
        stop: The frame after the last; None: to the end.

    Returns:
        `video` uint8 `(T, 3, H, W)` and `mask` uint8 `(T, H, W)`, sprite k of the scene is id k + 1.
    """
    stop = len(scene.camera) if stop is None else stop
    blocks = [_block(scene, first, min(first + BLOCK, stop)) for first in range(start, stop, BLOCK)]
    return {"video": torch.cat([video for video, _ in blocks]), "mask": torch.cat([mask for _, mask in blocks])}


def _block(scene: Scene, start: int, stop: int) -> tuple[Tensor, Tensor]:
    """Draw a few frames: the background, and over it (Porter and Duff, 1984) each sprite inside its bounds."""
    camera = torch.from_numpy(scene.camera[start:stop]).float()
    shift = torch.cat([torch.eye(2).expand(len(camera), 2, 2), camera[:, :, None]], 2)
    video = warp(scene.background, shift, (0, scene.height), (0, scene.width))
    mask = torch.zeros(len(video), scene.height, scene.width, dtype=torch.uint8)
    for which, tile in enumerate(scene.tiles):
        x, y, _, side = (values[which, start:stop] for values in scene.tracks)
        rows, columns = bounds(y, side * 0.7072, scene.height), bounds(x, side * 0.7072, scene.width)
        if rows[0] == rows[1] or columns[0] == columns[1]:
            continue
        matrix = torch.from_numpy(placement(tile.shape[-1], scene.tracks, which, start, stop)).float()
        drawn = warp(tile, matrix, rows, columns)
        here = (..., slice(*rows), slice(*columns))
        video[here].mul_(1 - drawn[:, 3:] / 255).add_(drawn[:, :3])
        mask[here].masked_fill_(drawn[:, 3] >= 127.5, which + 1)
    return video.round_().clamp_(0, 255).to(torch.uint8), mask
