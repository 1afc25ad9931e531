"""How the frames of a clip become squares: one crop for all of them, one for each, or the centre."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import interpolate
from torchvision.transforms import RandomResizedCrop

from lightning_binding.errors import InputError
from lightning_binding.names import did_you_mean

CropKind = Literal["clip", "frame", "centre"]
Box = tuple[int, int, int, int]
"""Top, left, height and width, in pixels."""


class ClipCrop(NamedTuple):
    """Cuts squares out of the frames of a clip and resizes them, bilinearly and antialiased.

    Attributes:
        kind: `clip`: one random crop for all frames, so that what stands still stays where it is; `frame`: one for
            each frame, as in CRW's code; `centre`: the largest square in the middle.
        size: Height and width of the result.
        scale: Range of the share of a frame's area that a random crop keeps.
        ratio: Range of the width of a random crop over its height.
    """

    kind: CropKind
    size: int
    scale: tuple[float, float] = (0.8, 0.95)
    ratio: tuple[float, float] = (0.7, 1.3)

    def check(self) -> None:
        """Raises an `InputError` if something is out of range."""
        if self.kind not in BOXES:
            raise InputError(f"There is no crop {self.kind!r}{did_you_mean(self.kind, BOXES)}")
        if self.size < 1:
            raise InputError(f"frame_size is {self.size}; it must be 1 or more.")
        if not 0 < self.scale[0] <= self.scale[1] <= 1:
            raise InputError(f"crop_scale is {self.scale}; it must be a range within (0, 1].")
        if not 0 < self.ratio[0] <= self.ratio[1]:
            raise InputError(f"crop_ratio is {self.ratio}; it must be a range of positive numbers.")

    def __call__(self, video: Tensor, seed: int) -> Tensor:
        """Crops a clip.

        Args:
            video: uint8 `(T, 3, H, W)` in [0, 255].
            seed: What the crops depend on.

        Returns:
            uint8 `(T, 3, size, size)`.
        """
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            boxes = BOXES[self.kind](video, self)
        shape = (self.size, self.size)
        parts = video.chunk(len(boxes))
        cut = [
            interpolate(part[..., top : top + height, left : left + width], shape, mode="bilinear", antialias=True)
            for part, (top, left, height, width) in zip(parts, boxes, strict=True)
        ]
        return torch.cat(cut).contiguous()


def _random_box(video: Tensor, crop: ClipCrop) -> Box:
    box: Box = RandomResizedCrop.get_params(video, list(crop.scale), list(crop.ratio))
    return box


def _one_box(video: Tensor, crop: ClipCrop) -> list[Box]:
    return [_random_box(video, crop)]


def _box_for_each_frame(video: Tensor, crop: ClipCrop) -> list[Box]:
    return [_random_box(video, crop) for _ in video]


def _centre(video: Tensor, crop: ClipCrop) -> list[Box]:
    height, width = video.shape[-2:]
    side = min(height, width)
    return [((height - side) // 2, (width - side) // 2, side, side)]


BOXES: dict[CropKind, Callable[[Tensor, ClipCrop], list[Box]]] = {
    "clip": _one_box,
    "frame": _box_for_each_frame,
    "centre": _centre,
}
