"""Modalities of a joint model: how a part of a batch becomes numbers in [-1, 1], and comes back.

A category is a picture of one pixel whose channels are its bits; a mask is a picture whose channels are the bits of its
ids. Which bits is a choice of `rin.bits`: one for each class, or those of the number.
"""

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor

from lightning_binding.errors import InputError
from lightning_binding.rin.bits import AnalogBits, OneHot
from lightning_binding.rin.joint import Shape


class Modality(ABC):
    """A part of a batch.

    Attributes:
        key: Its name in a batch, and in logs.
        shape: Of its numbers.
    """

    key: str
    shape: Shape

    @abstractmethod
    def encode(self, data: Tensor) -> Tensor:
        """Numbers x_0 in [-1, 1], (B, C, H, W), of what stands in a batch."""

    @abstractmethod
    def decode(self, x_0: Tensor) -> Tensor:
        """What would stand in a batch for the numbers x_0, (B, C, H, W)."""

    def agreement(self, found: Tensor, truth: Tensor) -> Tensor | None:
        """How well decoded data agrees with the truth, (B,) in [0, 1]; None where that is no question."""
        return None

    def of(self, batch: dict[str, Any]) -> Tensor:
        """The modality's part of a batch; clips (B, T, …) are taken as pictures.

        Raises:
            InputError: If the batch has no such part.
        """
        if self.key not in batch:
            raise InputError(
                f"the batches have no {self.key!r}, but {', '.join(map(repr, batch))}: choose another key for the "
                f"modality {type(self).__name__}, or other data."
            )
        data: Tensor = batch[self.key]
        return data.flatten(0, 1) if data.ndim > self._axes() else data

    @abstractmethod
    def _axes(self) -> int:
        """Axes of its part of a batch of pictures."""


class Pictures(Modality):
    """Pictures, uint8 (B, C, H, W) in [0, 255].

    Args:
        key: Name in the batch: `image`, or `video` for the frames of clips.
        size: Height and width in pixels.
        patch: Height and width of a patch; divides `size`.
        channels: Of the pictures.
    """

    def __init__(self, key: str = "image", size: int = 32, patch: int = 4, channels: int = 3) -> None:
        self.key, self.shape = key, Shape(channels, size, patch)

    def encode(self, data: Tensor) -> Tensor:
        """2 x / 255 - 1."""
        return data.float() / 127.5 - 1

    def decode(self, x_0: Tensor) -> Tensor:
        """uint8 (B, C, H, W) in [0, 255]."""
        return ((x_0 + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)

    def _axes(self) -> int:
        return 4


class Category(Modality):
    """A class for each picture, int64 (B,), as one token of bits.

    Args:
        classes: Number of classes.
        key: Name in the batch.
        code: Bits of a class; None is one bit for each, of whose means the largest decides.
    """

    def __init__(self, classes: int = 9, key: str = "label", code: AnalogBits | None = None) -> None:
        self.key, self.code = key, code or OneHot(classes)
        self.shape = Shape(self.code.width, 1, 1)

    def encode(self, data: Tensor) -> Tensor:
        """Bits -1 and 1, (B, bits, 1, 1)."""
        return self.code.encode(data)[:, :, None, None]

    def decode(self, x_0: Tensor) -> Tensor:
        """Classes, int64 (B,)."""
        return self.code.decode(x_0[:, :, 0, 0])

    def agreement(self, found: Tensor, truth: Tensor) -> Tensor:
        """1 where the class is right."""
        return (found == truth).float()

    def _axes(self) -> int:
        return 1


class Masks(Modality):
    """Ids of objects, uint8 (B, H, W), as bits of every pixel.

    Args:
        classes: Number of ids, background included; larger ids count as the last, so that 2 tells objects from
            background.
        key: Name in the batch.
        size: Height and width in pixels.
        patch: Height and width of a patch; divides `size`.
        code: Bits of an id; None is one for each.
    """

    def __init__(
        self, classes: int = 2, key: str = "mask", size: int = 32, patch: int = 4, code: AnalogBits | None = None
    ) -> None:
        self.key, self.classes, self.code = key, classes, code or OneHot(classes)
        self.shape = Shape(self.code.width, size, patch)

    def encode(self, data: Tensor) -> Tensor:
        """Bits -1 and 1, (B, bits, H, W)."""
        return self.code.encode(data.long().clamp(max=self.classes - 1)).movedim(-1, 1)

    def decode(self, x_0: Tensor) -> Tensor:
        """Ids, uint8 (B, H, W)."""
        return self.code.decode(x_0.movedim(1, -1)).to(torch.uint8)

    def agreement(self, found: Tensor, truth: Tensor) -> Tensor:
        """Intersection over union of what is not background; 1 where both have none."""
        found, truth = found > 0, truth > 0
        union = (found | truth).flatten(1).sum(1)
        return torch.where(union > 0, (found & truth).flatten(1).sum(1) / union.clamp_min(1), 1.0)

    def _axes(self) -> int:
        return 3
