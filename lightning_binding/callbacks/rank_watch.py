"""Ends a run of several ranks when one of them is dead or hangs, and names it."""

from __future__ import annotations

import contextlib
import faulthandler
import os
import re
import time
from datetime import timedelta
from typing import Any

import torch.distributed as dist
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from lightning_binding.callbacks.rank_news import is_echo
from lightning_binding.callbacks.rank_progress import RankProgress
from lightning_binding.checkpoints import await_written
from lightning_binding.errors import InputError

LONGEST = 500
"""Letters of another rank's error that are repeated."""
LAST_CHECKPOINT = 600.0
"""Seconds in which a checkpoint that this rank is writing may be finished."""
LAST_WORDS = 3.0
"""Seconds in which all ranks hear of the end, and say so; the one that hangs, where."""
GO_ON = (
    "it hangs, and its own log says where. If it was only slow, give RankWatch a longer timeout; go on from the "
    "newest checkpoint with --resume auto."
)


SO_DO_I = "so this one ends, too: go on from the newest checkpoint with --resume auto when that is mended."
"""What follows who has ended."""


class RankWatch(Callback):
    """Ends the run when a rank has died, or waits too long for another in a training step, and says for which.

    By itself, a rank that waits for another says neither for whom, nor gives up before the timeout of the process
    group, half an hour as a rule. With this callback the ranks come together over gloo, whatever the backend of the
    gradients is, before the forward and the backward pass, and in between a thread of each sees who waits for whom
    (`RankProgress`): a rank that hangs in the backward pass, in the forward pass of a sharded network, and rank 0 are
    named, too. A rank that hangs there writes where it stands into its own log, if it still can.

    A rank that raises an error alone tells the others which, so that they end, too; where a connection is closed and
    nobody said why, the ranks that live call the roll and name the one that died. One rank alone is not watched, nor is
    a hang between two steps: validation, checkpoints.

    Args:
        timeout: Seconds that a rank may come later than another; longer than the slowest read of a batch.
        every_n_batches: Batches between two times that the ranks come together; the thread looks at all of them.

    Raises:
        InputError: If a number is not positive.
    """

    def __init__(self, timeout: float = 300.0, every_n_batches: int = 1) -> None:
        for name, value in {"timeout": timeout, "every_n_batches": every_n_batches}.items():
            if value <= 0:
                raise InputError(f"RankWatch: {name} is {value}; it must be above 0.")
        self.timeout, self.every_n_batches = timeout, every_n_batches
        self._group: Any = None
        self._progress: RankProgress | None = None
        self._hooks: list[Any] = []
        self._batch = 0
        self._said = False

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Makes the group that is asked, and starts the thread."""
        if trainer.world_size > 1:
            self._group = dist.new_group(backend="gloo", timeout=timedelta(seconds=self.timeout))
            progress = RankProgress(
                self.timeout,
                overdue=lambda ranks, own: self._give_up(trainer, ranks, own),
                left=lambda who: self._end(trainer, f"{who}, about step {trainer.global_step}, {SO_DO_I}"),
            )
            self._hooks = [
                each.register_step_post_hook(lambda *_: progress.rests()) for each in trainer.strategy.optimizers
            ]
            progress.start()
            self._progress = progress

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Waits until every rank has its batch."""
        self._batch = batch_idx
        self._wait(trainer, "with its batch")

    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: Tensor) -> None:
        """Waits until every rank has its loss."""
        self._wait(trainer, "with its loss")

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """The step is done."""
        if self._progress is not None:
            self._progress.rests()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leaves the group, and tells so: ranks that have more to do wait for nobody's death."""
        if self._progress is not None:
            self._progress.news.finish(trainer.global_step)
        self._stop()
        if self._group is not None:
            dist.destroy_process_group(self._group)
            self._group = None

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Tells the others of an error of this rank, or says which rank's end is behind what is raised here."""
        if self._said:
            self._leave(trainer)
        progress = self._progress
        self._stop()
        if progress is None:
            return
        if is_echo(exception) and (who := progress.news.who_ended()):
            if who not in str(exception):
                _say(f"{who}, about step {trainer.global_step}, {SO_DO_I}")
        else:
            progress.news.leave(f"{type(exception).__name__}: {' '.join(str(exception).split())[:LONGEST]}")
        if trainer.is_global_zero and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True":
            time.sleep(LAST_WORDS)  # with this process may end what the others ask

    def _stop(self) -> None:
        for hook in self._hooks:
            hook.remove()
        self._hooks.clear()
        if self._progress is not None:
            self._progress.stop()
            self._progress = None

    def _wait(self, trainer: Trainer, having: str) -> None:
        if self._group is None or self._progress is None:
            return
        self._progress.passes(watched=False)
        if self._batch % self.every_n_batches == 0:
            begun = time.monotonic()
            try:
                dist.monitored_barrier(self._group, timedelta(seconds=self.timeout), wait_all_ranks=True)
            except RuntimeError as error:
                progress, text, step = self._progress, " ".join(str(error).split()), trainer.global_step
                if who := progress.news.who_ended():
                    raise InputError(f"{who}, about step {step}, {SO_DO_I} ({text})") from error
                late = time.monotonic() - begun >= self.timeout
                ranks = self._missing(trainer, text) if late else []
                progress.stop()
                if ranks:
                    progress.news.end(ranks)
                raise InputError(
                    f"{_named(ranks)} did not come {having} at step {step}{f' within {self.timeout:g} s' * late}, so "
                    f"the run ends: {GO_ON} ({text})"
                ) from error
        self._progress.passes(watched=True)

    def _missing(self, trainer: Trainer, text: str) -> list[int] | None:
        """Who did not come: rank 0 is told by name, and the others find out who is behind them."""
        found = re.search(r"[Rr]anks? ([\d, ]*\d)\s+failed to pass", text) if trainer.is_global_zero else None
        if found:
            return [int(rank) for rank in found[1].split(",")]
        ranks = None if self._progress is None else self._progress.behind()
        return [] if self._progress is not None and self._progress.store.gone else ranks

    def _give_up(self, trainer: Trainer, ranks: list[int] | None, own: bool) -> None:
        """Ends this process from the thread, since the training waits where no exception reaches it."""
        step, rank = trainer.global_step, trainer.global_rank
        if own:
            text = f"this rank, {rank}, hangs at step {step}: the others waited for {self.timeout:g} s. It stands here:"
        elif ranks == []:
            text = (
                f"the run was ended by another rank; this one, {rank}, waits at step {step} for what does not come. "
                "The log of the first that ended says why."
            )
        else:
            text = f"{_named(ranks)} did not come on at step {step} within {self.timeout:g} s, so the run ends: {GO_ON}"
        self._end(trainer, text, traceback=own)

    def _end(self, trainer: Trainer, text: str, traceback: bool = False) -> None:
        _say(text, traceback)
        self._said = True
        time.sleep(LAST_WORDS)  # with a process, connections close, by which the others were to hear of the end
        await_written(LAST_CHECKPOINT)
        if self._progress is not None:  # it has not ended by itself meanwhile
            self._leave(trainer)

    @staticmethod
    def _leave(trainer: Trainer) -> None:
        with contextlib.suppress(Exception):
            for each in getattr(trainer.strategy.launcher, "procs", []):  # those that Lightning started from this one
                each.kill()
        os._exit(2)


def _say(text: str, traceback: bool = False) -> None:
    """Writes it past what waits, and at once."""
    with contextlib.suppress(OSError):  # nobody may be listening any more
        os.write(2, f"\n{text}\n".encode())
        if traceback:
            faulthandler.dump_traceback(2)


def _named(ranks: list[int] | None) -> str:
    if ranks is None:
        return "rank 0, which keeps the others together and does not answer,"
    if not ranks:
        return "a rank (rank 0 says which)"
    return f"rank{'s' if len(ranks) > 1 else ''} {', '.join(map(str, ranks))}"
