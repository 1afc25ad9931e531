"""Whole videos and their masks as tensors, for evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from lightning_binding.errors import InputError
from lightning_binding.masks import read_mask
from lightning_binding.video.reader import read_frames


def read_video(path: Path) -> Tensor:
    """Reads all frames of a video file, or of a folder of frames in the natural order of their names.

    Returns:
        uint8 (T, 3, H, W) in [0, 255].

    Raises:
        InputError: If it cannot be read, or its frames differ in size.
    """
    frames = list(read_frames(path))
    for index, frame in enumerate(frames):
        if frame.shape != frames[0].shape:
            raise InputError(
                f"frame {index} of {path} has {_pixels(frame)}, the first {_pixels(frames[0])}: all frames of a "
                "sequence must be of one size."
            )
    return torch.stack(frames)


def read_masks(paths: Sequence[Path], size: tuple[int, int]) -> Tensor:
    """Reads masks of ids.

    Args:
        paths: Of the masks.
        size: Height and width of the frames that they belong to.

    Returns:
        uint8 (T, H, W).

    Raises:
        InputError: If one cannot be read, or is not of that size.
    """
    masks = [read_mask(path) for path in paths]
    for mask, path in zip(masks, paths, strict=True):
        if mask.shape != size:
            raise InputError(
                f"the annotation {path} has {_pixels(mask)}, its frame {size[1]} x {size[0]}: they must be of one size."
            )
    return torch.stack(masks)


def _pixels(picture: Tensor) -> str:
    return f"{picture.shape[-1]} x {picture.shape[-2]} pixels"
