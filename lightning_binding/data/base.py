"""What the data modules share: constructor arguments, loaders, reproducible orders, exact evaluation."""

from __future__ import annotations

from abc import abstractmethod

from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader

from lightning_binding.data.imageset import ImageBatch, ImageSet
from lightning_binding.data.loader import TrainLoader, exact_loader, train_loader
from lightning_binding.errors import InputError


class BindingDataModule(LightningDataModule):
    """Images for training, held-out ones, and the reference of a Fréchet distance.

    Batches are dicts with `image` `(B, 3, H, W)` uint8 in [0, 255] and `label` `(B,)` int64, -1 where unknown.
    A run is reproducible: orders and augmentations are functions of `seed`, the epoch and the index, whatever the
    number of workers, and a checkpoint in the middle of an epoch goes on with its next batch. Evaluation and reference
    are split exactly over ranks (`lightning_binding.data.sampling`).

    A subclass gives `class_names`, `train_set`, `eval_set` and `reference_set`.

    Args:
        image_size: Height and width of the images, in pixels.
        batch_size: Images in a training batch, on each device.
        eval_batch_size: Images in a batch of evaluation and reference, on each device; None: `batch_size`.
        num_workers: Processes that read ahead; 0 reads in the main process.
        seed: Of the orders and the augmentations.

    Raises:
        InputError: Sizes that are not positive, or fewer than 0 workers.
    """

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

    @property
    @abstractmethod
    def class_names(self) -> list[str]:
        """The name of each label; empty where images have none."""

    @property
    def num_classes(self) -> int:
        """Number of classes; 0 where images have no label."""
        return len(self.class_names)

    @abstractmethod
    def train_set(self) -> ImageSet:
        """The training images, augmented."""

    @abstractmethod
    def eval_set(self) -> ImageSet:
        """The held-out images."""

    @abstractmethod
    def reference_set(self) -> ImageSet:
        """The training images without augmentation."""

    def train_dataloader(self) -> TrainLoader:
        """Shuffled batches; the last incomplete one is left out where there are others."""
        return train_loader(self.train_set(), self.batch_size, self.num_workers, self.seed, self.trainer)

    def val_dataloader(self) -> DataLoader[ImageBatch]:
        """The held-out images, each once."""
        return self._exact(self.eval_set(), persistent=True)

    def test_dataloader(self) -> DataLoader[ImageBatch]:
        """The same images as validation."""
        return self._exact(self.eval_set())

    def predict_dataloader(self) -> DataLoader[ImageBatch]:
        """The same images as validation; a generative model draws one picture for each label."""
        return self._exact(self.eval_set())

    def reference_dataloader(self) -> DataLoader[ImageBatch]:
        """The training images without augmentation, each once: the real side of a Fréchet distance."""
        return self._exact(self.reference_set())

    def cache_key(self) -> str:
        """A name for what `reference_dataloader` gives, for statistics kept on disk; subclasses add their options."""
        return f"{type(self).__name__}-{self.image_size}px-{len(self.reference_set())}"

    def _exact(self, data: ImageSet, persistent: bool = False) -> DataLoader[ImageBatch]:
        """A loader of each image once, this rank's share of them in order."""
        return exact_loader(data, self.eval_batch_size, self.num_workers, "images", persistent)
