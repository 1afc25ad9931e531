"""Checkpoints of the last moments of a run, each at a point that training can go on from exactly."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from lightning_binding.checkpoints import UNFINISHED
from lightning_binding.errors import InputError


class RotatingCheckpoint(ModelCheckpoint):
    """Keeps the newest checkpoints: should the last one be damaged, there is the one before.

    They are written between two optimizer steps, never between two accumulated batches. Where validation follows, they
    are written behind it, and where an epoch ends, after the first step of the next one, so that a run that goes on has
    lost neither. The oldest is removed when the new one is on the disk.

    Args:
        every_n_steps: Optimizer steps between two checkpoints.
        minutes: Minutes between two checkpoints, instead of steps.
        keep: How many to keep.
        dirpath: Their folder; None: `checkpoints` in the run's folder.

    Raises:
        InputError: If a number is not positive.
    """

    def __init__(
        self, every_n_steps: int = 500, minutes: float | None = None, keep: int = 2, dirpath: str | None = None
    ) -> None:
        for name, value in {"every_n_steps": every_n_steps, "minutes": minutes, "keep": keep}.items():
            if value is not None and value <= 0:
                raise InputError(f"RotatingCheckpoint: {name} is {value}; it must be above 0.")
        super().__init__(
            dirpath=dirpath,
            filename="{step}",
            monitor="step",
            mode="max",
            save_top_k=keep,
            every_n_train_steps=every_n_steps,
            enable_version_counter=False,  # a step that is come to again after a restart has the same weights
        )
        self.every_n_steps, self.minutes = every_n_steps, minutes
        self._written = 0.0
        self._due = False

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Starts the clock."""
        super().on_train_start(trainer, pl_module)
        self._written = time.monotonic()
        self._sweep(trainer)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Writes a checkpoint if it is time and no validation follows."""
        loop = trainer.fit_loop.epoch_loop
        if loop._should_accumulate():
            return
        self._due = self._due or self._time(trainer)
        if self._due and not at_seam(trainer):
            assert trainer.fit_loop._data_fetcher is not None
            if not loop._should_check_val_fx(trainer.fit_loop._data_fetcher):
                self.save(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Writes the checkpoint that was due before validation."""
        fitting = trainer.state.fn == "fit" and not trainer.sanity_checking
        if fitting and self._due and not at_seam(trainer):
            self.save(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Writes the end of the run, whatever its step."""
        if self._last_global_step_saved != trainer.global_step:
            self.save(trainer)

    def save(self, trainer: Trainer) -> None:
        """Writes a checkpoint now; every rank calls it."""
        self._due = False
        if self._should_skip_saving_checkpoint(trainer):
            return
        self._save_topk_checkpoint(trainer, self._monitor_candidates(trainer))
        self._written = time.monotonic()
        self._sweep(trainer)

    def _sweep(self, trainer: Trainer) -> None:
        """Removes what a crash left: unfinished files, and whole ones that are older than those that are kept."""
        if trainer.is_global_zero and self.dirpath is not None:
            oldest = min((_step(path) for path in self.best_k_models), default=0)
            for path in Path(self.dirpath).glob("step=*.ckpt*"):
                if path.suffix == UNFINISHED or 0 <= _step(path) < oldest:
                    path.unlink()

    def _should_remove_checkpoint(self, trainer: Trainer, previous: str, current: str) -> bool:
        """Lightning keeps the one that the run went on from; here there are others by then."""
        return previous != current

    def _time(self, trainer: Trainer) -> bool:
        """Whether a checkpoint is due, for all ranks alike."""
        if self.minutes is None:
            return trainer.global_step % self.every_n_steps == 0
        return bool(trainer.strategy.broadcast(time.monotonic() - self._written >= 60 * self.minutes))


def at_seam(trainer: Trainer) -> bool:
    """Whether an epoch ends here: Lightning loses a batch, and what epochs end with, when a run goes on from there.

    A checkpoint is then written after the next step, unless every step ends an epoch.
    """
    loop = trainer.fit_loop.epoch_loop
    ends = loop.batch_progress.is_last_batch or loop._num_ready_batches_reached()
    return ends and trainer.num_training_batches > trainer.accumulate_grad_batches


def _step(path: str | Path) -> int:
    """The step in a file's name; -1 where there is none."""
    number = Path(path).name.removeprefix("step=").split(".")[0]
    return int(number) if number.isdigit() else -1
