"""A fit has the folder of its run to itself: two would write the same checkpoints and the same log."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.strategies.launchers import _MultiProcessingLauncher

from lightning_binding.cli.runs import folder_of
from lightning_binding.holding import LEASE, held
from lightning_binding.metric_log import MetricLog
from lightning_binding.together import decided_by_first

OPTION = "--trainer.default_root_dir"
ADVICE = (
    "or end it and give the command again with --resume auto, which goes on from the newest checkpoint; or give "
    f"another folder ({OPTION})."
)


@contextmanager
def alone(trainer: Trainer, resumed: bool) -> Iterator[None]:
    """A fit inside has its folder to itself, see `Alone`.

    Args:
        trainer: Of the fit.
        resumed: Whether it goes on with the run in its folder.

    Raises:
        InputError: If another process writes into it; it names the process.
    """
    callback = Alone(resumed)
    callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
    try:
        callback.begin(trainer)
        callbacks.insert(0, callback)
        yield
    finally:
        callback.release()
        if callback in callbacks:
            callbacks.remove(callback)


class Alone(Callback):
    """Holds the folder that a fit writes into, until `release` or the end of the process, however it comes.

    Of several ranks the first holds it. A folder that is there is taken before anything is written. A new one is made,
    and taken, when all ranks have come together: until then they count the folders, each for itself, to find its name.
    With loggers of the user's own, it is the folder above the `checkpoints` that is held, when Lightning has chosen it.
    `fast_dev_run` writes nothing and holds nothing.

    Args:
        resumed: Whether the fit goes on with the run in its folder.
    """

    def __init__(self, resumed: bool) -> None:
        self.resumed = resumed
        self._held = ExitStack()
        self._folders: list[Path] = []
        self._unplaced: list[ModelCheckpoint] = []

    def __getstate__(self) -> dict[str, Any]:
        """A process that is given a copy does not hold what this one does, and need not: this one outlives it."""
        return {**vars(self), "_held": ExitStack()}

    def begin(self, trainer: Trainer) -> None:
        """Takes a folder that is there; no rank has begun to write.

        Raises:
            InputError: If another process writes into it; it names the process.
        """
        callbacks = trainer.checkpoint_callbacks
        self._unplaced = [each for each in callbacks if isinstance(each, ModelCheckpoint) and each.dirpath is None]
        ranks_count_folders = trainer.world_size > 1 and not isinstance(
            trainer.strategy.launcher, _MultiProcessingLauncher
        )
        if Path(trainer.default_root_dir).exists() or not ranks_count_folders:
            self._take(trainer)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Takes a new folder.

        Raises:
            InputError: As for one that was there, in all ranks.
        """
        decided_by_first(lambda: self._take(trainer))

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Takes the folder of the checkpoints, where it is another.

        Raises:
            InputError: As for the run's.
        """
        paths = [str(each.dirpath) for each in self._unplaced if each.dirpath is not None]
        places = [folder_of(Path(path) / "any") for path in paths if "://" not in path]
        decided_by_first(lambda: self._hold(trainer, *places))

    def release(self) -> None:
        """Leaves the folders to others."""
        self._held.close()
        self._folders.clear()

    def _take(self, trainer: Trainer) -> None:
        """The run's folder, if it is the run's: those of other loggers are not known yet, and theirs are many."""
        ours = not trainer.loggers or any(isinstance(logger, MetricLog) for logger in trainer.loggers)
        if (self.resumed or ours) and "://" not in str(trainer.default_root_dir):
            self._hold(trainer, Path(trainer.default_root_dir))

    def _hold(self, trainer: Trainer, *folders: Path) -> None:
        if trainer.fast_dev_run or not trainer.is_global_zero:  # type: ignore[attr-defined]
            return
        for folder in folders:
            if folder.absolute() not in self._folders:
                self._held.enter_context(held(folder, OPTION, ADVICE, LEASE))
                self._folders.append(folder.absolute())
