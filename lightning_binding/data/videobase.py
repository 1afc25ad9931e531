"""What the data modules of video share: clips to train on, whole sequences to evaluate on, each exactly once."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader

from lightning_binding.data.clipset import ClipSet, SequenceSet
from lightning_binding.data.loader import TrainLoader, exact_loader, train_loader
from lightning_binding.errors import InputError


class VideoDataModule(LightningDataModule):
    """Clips `{video: uint8 (B, T, 3, H, W)}` for training; sequences `{video, name, frame_names, mask or points}`.

    Orders and draws are functions of `seed`, the epoch and the index, whatever the number of workers, and a checkpoint
    in the middle of an epoch goes on with its next batch. In evaluation a batch is one sequence, without a batch axis,
    and every sequence is read by one rank alone. A subclass gives `train_set` and `eval_set`, or one of them.

    Args:
        batch_size: Clips in a training batch, on each device.
        num_workers: Processes that read ahead; 0 reads in the main process.
        seed: Of the orders and of what is drawn.

    Raises:
        InputError: A batch size that is not positive, or fewer than 0 workers.
    """

    def __init__(self, batch_size: int = 8, num_workers: int = 0, seed: int = 0) -> None:
        super().__init__()
        if batch_size < 1:
            raise InputError(f"batch_size is {batch_size}; it must be 1 or more.")
        if num_workers < 0:
            raise InputError(f"num_workers is {num_workers}; it must be 0 (read in the main process) or more.")
        self.batch_size = batch_size
        self.num_workers = num_workers
        self.seed = seed

    def train_set(self) -> ClipSet:
        """The training clips.

        Raises:
            InputError: If the data has none.
        """
        raise InputError(f"{type(self).__name__} has no clips to train on; it is for validate, test and predict.")

    def eval_set(self) -> SequenceSet:
        """The held-out sequences.

        Raises:
            InputError: If the data has none.
        """
        raise InputError(f"{type(self).__name__} has no annotated sequences; it is for fit alone.")

    def train_dataloader(self) -> TrainLoader:
        """Shuffled batches of clips; the last incomplete one is left out where there are others."""
        return train_loader(self.train_set(), self.batch_size, self.num_workers, self.seed, self.trainer)

    def val_dataloader(self) -> DataLoader[Any]:
        """The held-out sequences, each once; none where the data has none."""
        if type(self).eval_set is VideoDataModule.eval_set:
            return []  # type: ignore[return-value]
        return exact_loader(self.eval_set(), None, self.num_workers, "sequences")

    def test_dataloader(self) -> DataLoader[Any]:
        """The same sequences as validation."""
        return exact_loader(self.eval_set(), None, self.num_workers, "sequences")

    def predict_dataloader(self) -> DataLoader[Any]:
        """The same sequences as validation."""
        return self.test_dataloader()
