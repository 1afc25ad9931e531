"""Datasets of images that are read a batch at a time."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TypedDict

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate
from torch.utils.data import Dataset

from lightning_binding.data.draws import draw_bytes
from lightning_binding.data.sampling import Draw


class ImageBatch(TypedDict):
    """What the loaders yield: `image` `(B, 3, H, W)` uint8 in [0, 255], and `label` `(B,)` int64, -1 where unknown."""

    image: Tensor
    label: Tensor


class ImageSet(Dataset[ImageBatch]):
    """A map-style dataset whose `__getitems__` reads whole batches.

    Args:
        seed: Of the augmentations; None: none, every image is always the same.
        horizontal_flip: Mirror half of the images, chosen anew in each epoch. Without a seed there is no flip.
    """

    def __init__(self, seed: int | None, horizontal_flip: bool) -> None:
        self.seed = seed
        self.horizontal_flip = horizontal_flip

    @abstractmethod
    def __len__(self) -> int:
        """Number of images."""

    @abstractmethod
    def read(self, index: npt.NDArray[np.int64], random: npt.NDArray[np.uint8]) -> ImageBatch:
        """Read a batch.

        Args:
            index: `(B,)` places in the data.
            random: `(B, 8)` random bytes; `ImageSet` itself uses the last of each row.
        """

    def __getitems__(self, draws: Sequence[int | Draw]) -> ImageBatch:
        """Read a batch and mirror; `DataLoader` calls this with all draws of one. An index alone is of epoch 0."""
        pairs = np.array([draw if isinstance(draw, tuple) else (draw, 0) for draw in draws], np.int64).reshape(-1, 2)
        index, epoch = pairs[:, 0], pairs[:, 1]
        if self.seed is None:  # nor do the draws follow the epoch: what is stored about such images stays true
            random = draw_bytes(0, np.zeros_like(epoch), index)
            return self.read(index, random)
        random = draw_bytes(self.seed, epoch, index)
        batch = self.read(index, random)
        if self.horizontal_flip:
            mirrored = torch.from_numpy(random[:, 7] < 128)
            batch["image"][mirrored] = batch["image"][mirrored].flip(-1)
        return batch

    def __getitem__(self, draw: int | Draw) -> ImageBatch:
        """Read one image, as a batch without its first axis.

        Raises:
            IndexError: An index outside the data; plain iteration ends by it.
        """
        index = draw[0] if isinstance(draw, tuple) else draw
        if not 0 <= index < len(self):
            raise IndexError(f"index {index} is outside the {len(self)} images.")
        batch = self.__getitems__([draw])
        return {"image": batch["image"][0], "label": batch["label"][0]}


class ArraySet(ImageSet):
    """Images in memory.

    Args:
        image: `(N, 3, H, W)` uint8.
        label: `(N,)` int64.
        seed: Of the flips; None: no flip.
        horizontal_flip: Mirror half of the images.
    """

    def __init__(self, image: Tensor, label: Tensor, seed: int | None = None, horizontal_flip: bool = False) -> None:
        super().__init__(seed, horizontal_flip)
        self.image = image
        self.label = label

    def __len__(self) -> int:
        return len(self.label)

    def read(self, index: npt.NDArray[np.int64], random: npt.NDArray[np.uint8]) -> ImageBatch:
        """Copy a batch out of the array."""
        chosen = torch.from_numpy(index)
        return {"image": self.image[chosen], "label": self.label[chosen]}


def resize(image: Tensor, size: int) -> Tensor:
    """Resize images `(N, C, H, H)` to `(N, C, size, size)`, float32 in [0, 255] on both sides, unrounded.

    A divisor of `H` averages boxes; any other size is an antialiased bicubic.
    """
    if image.shape[-1] == size:
        return image
    if image.shape[-1] % size == 0:
        return avg_pool2d(image, image.shape[-1] // size)
    # Halves are taken from pixel centres, as Pillow does; a bicubic overshoots at edges.
    return interpolate(image, (size, size), mode="bicubic", antialias=True, align_corners=False).clamp(0, 255)
