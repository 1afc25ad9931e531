"""What the data modules share: constructor arguments, loaders, reproducible orders, exact evaluation."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TypedDict

import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader

from lightning_binding.data.sampling import Draw, ExactSampler, TrainSampler, replicas
from lightning_binding.errors import InputError


class ImageBatch(TypedDict):
    """What the loaders yield: `image` `(B, 3, H, W)` uint8 in [0, 255], and `label` `(B,)` int64, -1 where unknown."""

    image: Tensor
    label: Tensor


class ImageSet:
    """A map-style dataset that is read a batch at a time."""

    @abstractmethod
    def __len__(self) -> int:
        """Number of images."""

    @abstractmethod
    def __getitems__(self, draws: Sequence[int | Draw]) -> ImageBatch:
        """Read a batch; `DataLoader` calls this with all indices of one."""

    def __getitem__(self, draw: int | Draw) -> ImageBatch:
        """Read one image, as a batch without its first axis."""
        batch = self.__getitems__([draw])
        return {"image": batch["image"][0], "label": batch["label"][0]}


def _as_is(batch: ImageBatch) -> ImageBatch:
    """The collate function: `__getitems__` returns whole batches."""
    return batch


class BindingDataModule(LightningDataModule):
    """Images for training, held-out ones, and the reference of a Fréchet distance.

    Batches are dicts with `image` `(B, 3, H, W)` uint8 in [0, 255] and `label` `(B,)` int64.
    A run is reproducible: orders and augmentations are functions of `seed`, the epoch and the index, whatever the number
    of workers. Evaluation and reference are split exactly over ranks (`lightning_binding.data.sampling`).

    Args:
        image_size: Height and width of the images, in pixels.
        batch_size: Images in a training batch, on each device.
        eval_batch_size: Images in a batch of evaluation and reference, on each device; None: `batch_size`.
        num_workers: Processes that read ahead; 0 reads in the main process.
        seed: Of the orders and the augmentations.

    Raises:
        InputError: Sizes that are not positive, or fewer than 0 workers.
    """

    num_classes: int
    class_names: list[str]

    def __init__(
        self,
        image_size: int,
        batch_size: int = 128,
        eval_batch_size: int | None = None,
        num_workers: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        eval_batch_size = batch_size if eval_batch_size is None else eval_batch_size
        sizes = {"image_size": image_size, "batch_size": batch_size, "eval_batch_size": eval_batch_size}
        for name, value in sizes.items():
            if value < 1:
                raise InputError(f"{name} is {value}; it must be 1 or more.")
        if num_workers < 0:
            raise InputError(f"num_workers is {num_workers}; it must be 0 (read in the main process) or more.")
        self.image_size = image_size
        self.batch_size = batch_size
        self.eval_batch_size = eval_batch_size
        self.num_workers = num_workers
        self.seed = seed

    @abstractmethod
    def train_set(self) -> ImageSet:
        """The training images, augmented."""

    @abstractmethod
    def eval_set(self) -> ImageSet:
        """The held-out images."""

    @abstractmethod
    def reference_set(self) -> ImageSet:
        """The training images without augmentation."""

    def train_dataloader(self) -> DataLoader[ImageBatch]:
        """Shuffled batches; the last incomplete one is left out where there are others."""
        data = self.train_set()
        sampler = TrainSampler(data, *replicas(), seed=self.seed, skip=self._seen() * self.batch_size)
        return self._loader(data, sampler, self.batch_size, drop_last=len(sampler) >= self.batch_size)

    def val_dataloader(self) -> DataLoader[ImageBatch]:
        """The held-out images, each once."""
        return self._exact(self.eval_set())

    def test_dataloader(self) -> DataLoader[ImageBatch]:
        """The same images as validation."""
        return self._exact(self.eval_set())

    def reference_dataloader(self) -> DataLoader[ImageBatch]:
        """The training images without augmentation, each once: the real side of a Fréchet distance."""
        return self._exact(self.reference_set())

    def _exact(self, data: ImageSet) -> DataLoader[ImageBatch]:
        world, rank = replicas()
        if len(data) < world:
            # A rank without a batch would skip the end of the epoch, where the others wait for it.
            raise InputError(f"{len(data)} images cannot be split over {world} ranks; evaluate with fewer devices.")
        return self._loader(data, ExactSampler(data, world, rank), self.eval_batch_size)

    def _loader(
        self, data: ImageSet, sampler: TrainSampler | ExactSampler, batch_size: int, drop_last: bool = False
    ) -> DataLoader[ImageBatch]:
        return DataLoader(
            data,  # type: ignore[arg-type]
            batch_size=batch_size,
            sampler=sampler,
            drop_last=drop_last,
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
            pin_memory=torch.cuda.is_available(),
            collate_fn=_as_is,
        )

    def _seen(self) -> int:
        """Batches of the present epoch that were trained on before a restart."""
        if self.trainer is None or not self.trainer.training:
            return 0
        return 0
