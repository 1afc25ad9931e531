"""Loaders: of training, which go on in the middle of an epoch where a checkpoint left off, and of evaluation."""

from __future__ import annotations

from collections.abc import Iterator, Sized
from typing import Any

import torch
from lightning.pytorch import Trainer
from torch.utils.data import DataLoader, Dataset

from lightning_binding.data.sampling import ExactSampler, TrainSampler, replicas
from lightning_binding.errors import InputError
from lightning_binding.sheltered import sheltered

READ_AHEAD = 2
"""Batches that each worker holds ready: torch's own number."""


def read_ahead(batch_size: int, num_workers: int) -> int:
    """Examples that are drawn before they are read, which a cache of shards must know: a batch at least."""
    return batch_size * max(1, READ_AHEAD * num_workers)


def as_is(batch: Any) -> Any:
    """The collate function: the datasets return whole batches, where `DataLoader` is declared for lists."""
    return batch


class ShelteredLoader(DataLoader[Any]):
    """A loader whose workers outlive a signal to the whole run, so that the step can be ended and saved."""

    def __iter__(self) -> Any:
        """The batches; a worker that dies is named, and what one says is said without its traceback."""
        with sheltered():
            batches = super().__iter__()
        return _watched(batches, keep=self.persistent_workers)


class TrainLoader(ShelteredLoader):
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
        size = self.batch_size or 1
        shares = {"ranks": self._ranks, "batch_size": size}
        if isinstance(self.sampler, TrainSampler):
            shares |= self.sampler.state()
        if batches.is_last_batch and done >= batches.current.ready:
            return {"epoch": loop.epoch_progress.current.ready, "seen": 0, **shares}
        return {"epoch": max(0, loop.epoch_progress.current.ready - 1), "seen": done * size, **shares}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on from a `state_dict`, of as many ranks or of others.

        The ranks are dealt one order in turn, so what W of them have seen is its beginning: with the same batch over
        all ranks, others go on behind it exactly.

        Raises:
            InputError: In the middle of an epoch, if the batch over all ranks is another one.
        """
        if not (state and isinstance(self.sampler, TrainSampler)):
            return
        ranks, size = state.get("ranks", self._ranks), state.get("batch_size", self.batch_size or 1)
        seen = state["seen"]
        if seen and ranks * size != self._ranks * (self.batch_size or 1):
            raise InputError(
                f"the checkpoint is from the middle of an epoch, with batches of {size} on {ranks} ranks, and would go "
                f"on with {self.batch_size} on {self._ranks}: give a --data.batch_size with which the product stays "
                f"{ranks * size}, or go on from a checkpoint of an epoch's end."
            )
        self.sampler.resume(state["epoch"], seen * ranks // self._ranks, state)

    @property
    def _ranks(self) -> int:
        return self.sampler.num_replicas if isinstance(self.sampler, TrainSampler) else 1


def _watched(batches: Any, keep: bool) -> Iterator[Any]:
    try:
        yield from batches
    except InputError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise type(error)(str(error).strip().rsplit(f"{type(error).__name__}: ", 1)[-1]) from None
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise InputError(
            f"a process that reads data died ({' '.join(str(error).split())}), so the run stops; the system kills "
            "processes when memory is short. Give fewer (--data.num_workers) or smaller batches, and go on from the "
            "newest checkpoint with --resume auto."
        ) from error
    finally:
        if not keep and hasattr(batches, "_shutdown_workers"):
            batches._shutdown_workers()  # at once; the garbage collector may come late, and waits for them


def train_loader(
    data: Dataset[Any],
    batch_size: int,
    num_workers: int,
    seed: int,
    trainer: Trainer | None,
    sampler: TrainSampler | None = None,
) -> TrainLoader:
    """Shuffled batches, this rank's share; the last incomplete one is left out where there are others.

    Args:
        data: With `__len__`, and `__getitems__` that returns whole batches.
        batch_size: On each device.
        num_workers: Processes that read ahead.
        seed: Of the orders.
        trainer: Whose progress a checkpoint keeps.
        sampler: Of this rank; None: any order, which needs all of the data within reach.
    """
    sampler = sampler or TrainSampler(data, *replicas(), seed=seed)
    loader = TrainLoader(
        data,
        batch_size,
        sampler=sampler,
        drop_last=len(sampler) >= batch_size,
        num_workers=num_workers,
        prefetch_factor=READ_AHEAD if num_workers else None,
        persistent_workers=num_workers > 0,
        pin_memory=torch.cuda.is_available(),
        collate_fn=as_is,
        generator=torch.Generator(),  # each pass draws a seed for the workers, and not from the run's generator
    )
    loader.trainer = trainer
    # Lightning restores the loader only in the middle of an epoch, yet reads from it before it sets the epoch.
    loader.load_state_dict(loader.state_dict())
    return loader


def exact_loader(
    data: Dataset[Any], batch_size: int | None, num_workers: int, what: str, persistent: bool = False
) -> DataLoader[Any]:
    """Each example once, this rank's share of them in order.

    Args:
        data: With `__len__`.
        batch_size: None gives single examples without a batch axis.
        num_workers: Processes that read ahead.
        what: The examples' name in messages, in the plural.
        persistent: Keep the processes from one pass to the next.

    Raises:
        InputError: Fewer examples than ranks.
    """
    world, rank = replicas()
    count = len(data) if isinstance(data, Sized) else 0
    if count < world:
        # A rank without a batch would skip the end of the epoch, where the others wait for it.
        raise InputError(f"{count} {what} cannot be split over {world} ranks; evaluate with fewer devices.")
    return ShelteredLoader(
        data,
        batch_size,
        sampler=ExactSampler(data, world, rank),
        num_workers=num_workers,
        persistent_workers=persistent and num_workers > 0,
        pin_memory=torch.cuda.is_available(),
        collate_fn=as_is,
        generator=torch.Generator(),  # as above: evaluation leaves no trace in training
    )
