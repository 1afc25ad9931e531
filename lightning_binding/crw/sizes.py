"""The size at which frames are encoded, which differs from method to method."""

import torch
from torch import Tensor
from torch.nn import functional as F

from lightning_binding.crw.settings import PropagationSettings


def frame_size(height: int, width: int, settings: PropagationSettings, multiple: int) -> tuple[int, int]:
    """Height and width that frames are resized to before they are encoded.

    Args:
        height: Of the video, in pixels.
        width: Of the video.
        settings: With the side, or the sides, that a method was scored with.
        multiple: What the encoder needs height and width to be a multiple of.
    """

    def whole(side: float) -> int:
        side = round(side, 6)  # what is a whole number but for rounding is one
        if settings.round_up:
            return -int(-side // multiple) * multiple
        return max(round(side) if multiple == 1 else int(side // multiple), 1) * multiple

    if settings.size is not None or (settings.short_side is None and settings.long_side is None):
        height, width = settings.size or (height, width)
        return whole(height), whole(width)
    sides = (height, width)
    given = sides.index(min(sides)) if settings.short_side is not None else sides.index(max(sides))
    first = whole(settings.short_side or settings.long_side or 0)
    step = settings.other_side_multiple
    other = first * sides[1 - given] / sides[given]
    second = whole(other if step == 1 else max(other // step, 1) * step)
    return (first, second) if given == 0 else (second, first)


def resize(frames: Tensor, size: tuple[int, int], resampling: str = "bicubic") -> Tensor:
    """Resizes uint8 frames (F, 3, H, W); those of the right size are left as they are.

    Args:
        frames: In [0, 255].
        size: Height and width.
        resampling: `bicubic` with antialiasing, or `bilinear` without.
    """
    if frames.shape[-2:] == size:
        return frames
    resized = F.interpolate(
        frames.float(), size, mode=resampling, antialias=resampling == "bicubic", align_corners=False
    )
    return resized.round().clamp(0, 255).to(torch.uint8)
