"""CIFAR-10 (Krizhevsky, 2009)."""

from __future__ import annotations

import functools
import os
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lightning_binding.data.base import BindingDataModule
from lightning_binding.data.imageset import ArraySet, resize
from lightning_binding.data.safe_pickle import load_arrays
from lightning_binding.errors import InputError

CLASS_NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
PYTHON, BINARY = "cifar-10-batches-py", "cifar-10-batches-bin"
RECORD = 1 + 3 * 32 * 32
"""Bytes of an image in the binary version: its label, then red, green and blue planes."""


def _read_python(file: Path) -> tuple[np.ndarray, np.ndarray]:
    """Images `(N, 3072)` uint8 and labels `(N,)` of a batch of the Python version."""
    batch = load_arrays(file.read_bytes())
    return np.asarray(batch[b"data"], np.uint8).reshape(-1, RECORD - 1), np.asarray(batch[b"labels"], np.int64)


def _read_binary(file: Path) -> tuple[np.ndarray, np.ndarray]:
    """Images `(N, 3072)` uint8 and labels `(N,)` of a batch of the binary version."""
    records = np.fromfile(file, np.uint8).reshape(-1, RECORD)
    return records[:, 1:], records[:, 0].astype(np.int64)


VERSIONS = {PYTHON: (_read_python, ""), BINARY: (_read_binary, ".bin")}
"""For each version, by the name of its folder: how a batch is read, and how the names of batches end."""


def read_batch(file: Path, version: str) -> tuple[np.ndarray, np.ndarray]:
    """Read a batch of CIFAR-10.

    Args:
        file: The batch.
        version: `cifar-10-batches-py` or `cifar-10-batches-bin`.

    Returns:
        Images `(N, 3072)` uint8 and labels `(N,)` int64 in [0, 9].

    Raises:
        InputError: It is damaged, or holds anything but arrays.
    """
    try:
        image, label = VERSIONS[version][0](file)
    except Exception as error:  # a damaged pickle raises almost anything
        raise InputError(f"{file} is not a batch of CIFAR-10 ({error}); unpack it again.") from error
    if label.shape != image.shape[:1] or not ((label >= 0) & (label < len(CLASS_NAMES))).all():
        raise InputError(f"{file} is not a batch of CIFAR-10 (its labels do not fit); unpack it again.")
    return image, label


def read_cifar10(folder: Path, train: bool) -> tuple[Tensor, Tensor]:
    """Read one side of CIFAR-10 from the folder of either official version.

    Args:
        folder: `cifar-10-batches-py` or `cifar-10-batches-bin`.
        train: Whether to read the five training batches, or the test batch.

    Returns:
        Images `(N, 3, 32, 32)` uint8 in [0, 255] and labels `(N,)` int64.

    Raises:
        InputError: A batch is missing, damaged, or holds anything but arrays.
    """
    ending = VERSIONS[folder.name][1]
    images, labels = [], []
    for name in [f"data_batch_{i}" for i in range(1, 6)] if train else ["test_batch"]:
        file = folder / (name + ending)
        if not file.is_file():
            raise InputError(f"{folder} lacks {file.name}; unpack CIFAR-10 again, or set download: true.")
        image, label = read_batch(file, folder.name)
        images.append(image)
        labels.append(label)
    pixels = np.concatenate(images).reshape(-1, 3, 32, 32)
    return torch.from_numpy(pixels), torch.from_numpy(np.concatenate(labels))


class CIFAR10DataModule(BindingDataModule):
    """CIFAR-10: 50,000 training and 10,000 test images of ten classes, all in memory.

    Args:
        root: The folder that holds `cifar-10-batches-py` or `cifar-10-batches-bin`, or one of these itself.
        download: Whether to download it to `root` where it is missing, and unpack a `cifar-10-python.tar.gz` there.
        image_size: Height and width of the images; 32 is how they are, 16 or 8 averages boxes, any other size is an
            antialiased bicubic resize.
        batch_size: Images in a training batch, on each device.
        eval_batch_size: Images in a batch of evaluation and reference, on each device; None: `batch_size`.
        num_workers: Processes that read ahead; the images are in memory, so 0 is fast enough.
        seed: Of the orders and flips.
        horizontal_flip: Whether to mirror half of the training images.

    Raises:
        InputError: Wrong sizes; on set-up: the data are missing or damaged, or cannot be downloaded.
    """

    def __init__(
        self,
        root: str = "data",
        download: bool = False,
        image_size: int = 32,
        batch_size: int = 128,
        eval_batch_size: int | None = None,
        num_workers: int = 0,
        seed: int = 0,
        horizontal_flip: bool = True,
    ) -> None:
        super().__init__(image_size, batch_size, eval_batch_size, num_workers, seed)
        self.root = Path(os.path.abspath(os.path.expanduser(root)))
        self.download = download
        self.horizontal_flip = horizontal_flip

    @property
    def class_names(self) -> list[str]:
        """The ten classes."""
        return list(CLASS_NAMES)

    def prepare_data(self) -> None:
        """Download where asked to; Lightning calls this in one process of each machine."""
        if not self.download or self._found() is not None:
            return
        from torchvision.datasets import CIFAR10

        try:
            CIFAR10(str(self.root), download=True)
        except (OSError, RuntimeError) as error:
            raise InputError(
                f"CIFAR-10 could not be downloaded to {self.root} ({error}); unpack cifar-10-python.tar.gz there."
            ) from error

    def setup(self, stage: str) -> None:
        """Look for the data, so that missing ones are found before the model is built."""
        self._folder  # noqa: B018

    def _found(self) -> Path | None:
        """The folder of a version, if there is one."""
        places = [self.root, *(self.root / name for name in VERSIONS)]
        return next((place for place in places if place.name in VERSIONS and place.is_dir()), None)

    @functools.cached_property
    def _folder(self) -> Path:
        found = self._found()
        if found is None:
            raise InputError(
                f"There is no CIFAR-10 in {self.root}: neither {PYTHON} nor {BINARY}. Set root to the folder that "
                f"holds one of them, or download: true where a network is."
            )
        return found

    @functools.cached_property
    def _train(self) -> tuple[Tensor, Tensor]:
        return self._read(train=True)

    @functools.cached_property
    def _test(self) -> tuple[Tensor, Tensor]:
        return self._read(train=False)

    def _read(self, train: bool) -> tuple[Tensor, Tensor]:
        """Images at `image_size`, and labels."""
        image, label = read_cifar10(self._folder, train)
        if self.image_size != 32:  # in pieces, which bounds the memory of the float copy
            pieces = [resize(piece.float(), self.image_size).round().byte() for piece in torch.split(image, 1024)]
            image = torch.cat(pieces)
        return image, label

    def train_set(self) -> ArraySet:
        """The training images, mirrored at random."""
        return ArraySet(*self._train, seed=self.seed, horizontal_flip=self.horizontal_flip)

    def eval_set(self) -> ArraySet:
        """The test images."""
        return ArraySet(*self._test)

    def reference_set(self) -> ArraySet:
        """The training images as they are."""
        return ArraySet(*self._train)
