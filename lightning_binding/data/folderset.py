"""Encoded images as a dataset that outlives broken ones."""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt
import torch

from lightning_binding.data.broken import BrokenFiles
from lightning_binding.data.decode import Decoder
from lightning_binding.data.imageset import ImageBatch, ImageSet
from lightning_binding.data.source import Source
from lightning_binding.errors import InputError


class FolderSet(ImageSet):
    """Image files, or items of shards, decoded when they are read.

    A file that cannot be read gives its place, in this and every epoch, to the next one that can, with its label.

    Args:
        files: Where they are.
        decoder: How they are read.
        broken: Where those that cannot be read are counted.
        seed: Of the flips; None: no flip.
        horizontal_flip: Mirror half of the images.
    """

    def __init__(
        self,
        files: Source,
        decoder: Decoder,
        broken: BrokenFiles,
        seed: int | None = None,
        horizontal_flip: bool = False,
    ) -> None:
        super().__init__(seed, horizontal_flip)
        self.files = files
        self.decoder = decoder
        self.broken = broken

    def __len__(self) -> int:
        return self.files.total

    def read(self, index: npt.NDArray[np.int64], random: npt.NDArray[np.uint8]) -> ImageBatch:
        """Decode a batch."""
        images, labels = zip(*(self._decode(int(place)) for place in index), strict=True)
        return {"image": torch.from_numpy(np.stack(images)), "label": torch.tensor(labels, dtype=torch.int64)}

    def _decode(self, index: int) -> tuple[npt.NDArray[np.uint8], int]:
        """Decode an image, or the next that can be."""
        for place in itertools.chain(range(index, len(self)), range(index)):
            with self.files.opened(place) as (encoded, label):
                try:
                    return self.decoder(encoded), label
                except MemoryError:
                    raise
                except Exception as error:  # Pillow's OSError, SyntaxError, ValueError, struct.error, … for bad files
                    self.broken.add(self.files.full_path(place), error)
        raise InputError(
            f"None of {len(self)} images under {self.files.root} can be read; see {self.broken.file}. Mend them; if "
            "they are held out, others are chosen by val_root or, where there is no folder of them, by held_out_share."
        )
