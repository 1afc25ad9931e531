"""A `DataLoader` that goes on in the middle of an epoch where a checkpoint left off."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import Trainer
from torch.utils.data import DataLoader

from lightning_binding.data.imageset import ImageBatch
from lightning_binding.data.sampling import TrainSampler


def as_is(batch: Any) -> ImageBatch:
    """The collate function: the datasets return whole batches, where `DataLoader` is declared for lists."""
    whole: ImageBatch = batch
    return whole


class TrainLoader(DataLoader[ImageBatch]):
    """Batches of training; Lightning writes its `state_dict` into the checkpoint and reads it before the first batch.

    What was read ahead, by workers or by Lightning, is not what was trained on: the position is the trainer's.
    """

    trainer: Trainer | None = None

    def state_dict(self) -> dict[str, int]:
        """The epoch of the next batch, and the examples of it, of this rank, that were trained on."""
        if self.trainer is None:
            return {}
        loop = self.trainer.fit_loop
        batches = loop.epoch_loop.batch_progress
        done: int = batches.current.processed  # type: ignore[attr-defined]  # declared as the parent of its class
        if batches.is_last_batch and done >= batches.current.ready:
            return {"epoch": loop.epoch_progress.current.ready, "seen": 0}
        return {"epoch": max(0, loop.epoch_progress.current.ready - 1), "seen": done * (self.batch_size or 1)}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on from a `state_dict`."""
        if state and isinstance(self.sampler, TrainSampler):
            self.sampler.resume(state["epoch"], state["seen"])
