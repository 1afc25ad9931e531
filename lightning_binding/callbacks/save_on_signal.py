"""Ends a run that is asked to stop, with a checkpoint of the last optimizer step."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import threading
from pathlib import Path
from types import FrameType
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info

from lightning_binding.callbacks.rotating_checkpoint import RotatingCheckpoint, at_seam
from lightning_binding.errors import InputError


class SaveOnSignal(Callback):
    """Saves and stops when the process is asked to: on SIGTERM, and on SLURM's warning before the time is up.

    The step that is under way is finished first, and another one where an epoch ends with it, so the checkpoint is one
    that training goes on from exactly; Lightning's own handler writes in the middle of a step. The process then ends
    with 128 + the signal's number. If that takes longer than the deadline, the process ends without a new checkpoint,
    and the one before is what remains. In a SLURM job one of `requeue` puts the job into the queue again, saved or not:
    with `--resume auto` the same script goes on.

    Args:
        signals: Names of the signals. SLURM sends the one that `#SBATCH --signal=USR1@120` names.
        deadline: Seconds from the signal to the end of the process at the latest; a cluster often gives 30.
        requeue: Signals at which a SLURM job is put into the queue again.

    Raises:
        InputError: If there is no such signal, or the deadline is not positive.
    """

    def __init__(
        self,
        signals: tuple[str, ...] = ("SIGTERM", "SIGUSR1"),
        deadline: float = 25.0,
        requeue: tuple[str, ...] = ("SIGUSR1",),
    ) -> None:
        for name in (*signals, *requeue):
            if not name.startswith("SIG") or not hasattr(signal, name):
                raise InputError(f"SaveOnSignal: there is no signal {name}; names are like SIGTERM.")
        if deadline <= 0:
            raise InputError(f"SaveOnSignal: deadline is {deadline} seconds; it must be above 0.")
        self.signals, self.deadline, self.requeue = signals, deadline, requeue
        self._received: signal.Signals | None = None
        self._before: dict[str, Any] = {}
        self._timer: threading.Timer | None = None
        self._trainer: Trainer | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Takes the signals over, from Lightning too."""
        self._trainer = trainer
        if threading.current_thread() is threading.main_thread():
            for name in self.signals:
                self._before[name] = signal.signal(signal.Signals[name], self._receive)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Saves and stops, if any process was asked to and an optimizer step is done."""
        if trainer.fit_loop.epoch_loop._should_accumulate() or at_seam(trainer):
            return
        if not trainer.strategy.reduce_boolean_decision(self._received is not None, all=False):
            return
        path = self._save(trainer)
        received = self._received or signal.SIGTERM
        again = received.name in self.requeue and self._requeued(trainer)
        rank_zero_info(
            f"{received.name} came: step {trainer.global_step} is saved in {path}, and the run stops"
            f"{'; the job is in the queue again' if again else ''}. Go on with the same command and --resume auto."
        )
        self._release()
        raise SystemExit(128 + received)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Gives the signals back."""
        self._release()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Gives the signals back, since an error skips `teardown`."""
        self._release()

    def _release(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        for name, handler in self._before.items():
            signal.signal(signal.Signals[name], handler)
        self._before.clear()

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self._received is None:
            self._received = signal.Signals(number)
            self._timer = threading.Timer(self.deadline, self._give_up)
            self._timer.daemon = True
            self._timer.start()

    def _give_up(self) -> None:
        received = self._received or signal.SIGTERM
        again = False
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            again = received.name in self.requeue and self._trainer is not None and self._requeued(self._trainer, 10.0)
        text = (
            f"No step was ended and saved within {self.deadline} s of the signal: the run stops, and the checkpoint "
            f"before is the last{'; the job is in the queue again' if again else ''}."
        )
        with contextlib.suppress(OSError):  # nobody may be listening any more
            os.write(2, f"\n{text}\n".encode())
        os._exit(128 + received)

    @staticmethod
    def _save(trainer: Trainer) -> str:
        for callback in trainer.checkpoint_callbacks:
            if isinstance(callback, RotatingCheckpoint):
                callback.save(trainer)
                return callback.best_model_path
        folder = Path(trainer.log_dir or trainer.default_root_dir) / "checkpoints"
        path = str(folder / f"step={trainer.global_step}.ckpt")
        trainer.save_checkpoint(path)
        return path

    @staticmethod
    def _requeued(trainer: Trainer, timeout: float | None = None) -> bool:
        """Whether this is a job of SLURM's, which was put into the queue again by its first process."""
        job, command = os.environ.get("SLURM_JOB_ID"), shutil.which("scontrol")
        if job is None or command is None:
            return False
        if trainer.is_global_zero:
            subprocess.run([command, "requeue", job], check=False, timeout=timeout)
        return True
