"""Ends a run of several ranks when one of them is dead or hangs, and names it."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import torch.distributed as dist
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from lightning_binding.errors import InputError


class RankWatch(Callback):
    """Waits for all ranks before the forward and the backward pass; a rank that does not come is named, and all end.

    By itself, a rank that waits for another says neither for whom, nor gives up before the timeout of the process
    group, half an hour as a rule. Rank 0 asks the others over gloo, whatever the backend of the gradients is. Where the
    others hang inside of the backward pass, or rank 0 does, the timeout of the process group
    (`DDPStrategy(timeout=...)`) still ends the run, without a name. One rank alone is not watched.

    Args:
        timeout: Seconds that a rank may come later than rank 0; longer than the slowest read of a batch.
        every_n_batches: Batches between two looks; the ranks wait for each other at each.

    Raises:
        InputError: If a number is not positive.
    """

    def __init__(self, timeout: float = 300.0, every_n_batches: int = 1) -> None:
        for name, value in {"timeout": timeout, "every_n_batches": every_n_batches}.items():
            if value <= 0:
                raise InputError(f"RankWatch: {name} is {value}; it must be above 0.")
        self.timeout, self.every_n_batches = timeout, every_n_batches
        self._group: Any = None
        self._batch = 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Makes the group that is asked."""
        if trainer.world_size > 1:
            self._group = dist.new_group(backend="gloo", timeout=timedelta(seconds=self.timeout))

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Waits until every rank has its batch."""
        self._batch = batch_idx
        self._wait(trainer, "with its batch")

    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: Tensor) -> None:
        """Waits until every rank has its loss."""
        self._wait(trainer, "with its loss")

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leaves the group."""
        if self._group is not None:
            dist.destroy_process_group(self._group)
            self._group = None

    def _wait(self, trainer: Trainer, having: str) -> None:
        if self._group is None or self._batch % self.every_n_batches:
            return
        try:
            dist.monitored_barrier(self._group, timedelta(seconds=self.timeout), wait_all_ranks=True)
        except RuntimeError as error:
            text = str(error)
            found = re.search(r"[Rr]anks? ([\d, ]*\d)\s+failed to pass", text) if trainer.is_global_zero else None
            who = f"rank {found[1].strip()}" if found else "a rank (rank 0 says which)"
            raise InputError(
                f"{who} did not come {having} at step {trainer.global_step} within {self.timeout:g} s, so the run "
                f"ends: it died or hangs, and its own log says why. If it was only slow, give RankWatch a longer "
                f"timeout; go on from the newest checkpoint with --resume auto. ({' '.join(text.split())})"
            ) from error
