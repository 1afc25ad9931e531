"""A run that is asked to stop ends a step, saves it and says so; one that cannot ends in time."""

import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import torch
import toys
from forks import Fork
from lightning.pytorch import Callback, Trainer

from lightning_binding.callbacks import RotatingCheckpoint, SaveOnSignal
from lightning_binding.cli import main
from lightning_binding.errors import InputError

ARGS = ["--model=ToyModel", "--data=ToyData", "--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false"]


class Sender(Callback):
    """Sends a signal to its own process in the middle of a step."""

    def __init__(self, number: signal.Signals, step: int, seconds: float = 0.0) -> None:
        self.number, self.step, self.seconds = number, step, seconds

    def on_before_backward(self, trainer: Trainer, *args: Any) -> None:
        if trainer.global_step == self.step:
            os.kill(os.getpid(), self.number)
            time.sleep(self.seconds)


def fit(folder: Path, *callbacks: Callback, epochs: int = 4) -> Any:
    trainer = Trainer(
        accelerator="cpu", max_epochs=epochs, default_root_dir=folder, callbacks=list(callbacks), logger=False
    )
    model = toys.ToyModel()
    trainer.fit(model, toys.ToyData())
    return trainer


@pytest.mark.parametrize("name", ["SIGTERM", "SIGUSR1"])
@pytest.mark.parametrize("rotating", [True, False])
def test_the_step_is_saved(name: str, rotating: bool, tmp_path: Path) -> None:
    callbacks = [SaveOnSignal(), Sender(signal.Signals[name], 2)]
    before = signal.getsignal(signal.Signals[name])
    with pytest.raises(SystemExit) as stopped:
        fit(tmp_path, *callbacks, *([RotatingCheckpoint(every_n_steps=100)] if rotating else []))
    assert stopped.value.code == 128 + signal.Signals[name]
    assert torch.load(tmp_path / "checkpoints" / "step=3.ckpt", weights_only=True)["global_step"] == 3
    assert signal.getsignal(signal.Signals[name]) == before
    timers = [thread for thread in threading.enumerate() if isinstance(thread, threading.Timer)]
    assert all(timer.finished.is_set() for timer in timers)  # the deadline ends nothing later


def test_not_at_the_seam_of_two_epochs(tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        fit(tmp_path, SaveOnSignal(), Sender(signal.SIGTERM, 1), RotatingCheckpoint(every_n_steps=100))
    assert [file.name for file in (tmp_path / "checkpoints").iterdir()] == ["step=3.ckpt"]  # an epoch has two steps


def test_the_same_command_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(toys, "Sender", Sender, raising=False)
    options = ["--trainer.callbacks+=RotatingCheckpoint", "--trainer.callbacks+=SaveOnSignal", "--trainer.max_epochs=4"]
    whole = main(["fit", *ARGS, *options, "--trainer.default_root_dir=whole"])
    start = SaveOnSignal.on_train_start
    with monkeypatch.context() as patched:

        def on_train_start(self: SaveOnSignal, *args: Any) -> None:
            start(self, *args)
            os.kill(os.getpid(), signal.SIGTERM)

        patched.setattr(SaveOnSignal, "on_train_start", on_train_start)
        with pytest.raises(SystemExit):
            main(["fit", *ARGS, *options, "--resume=auto"])
    again = main(["fit", *ARGS, *options, "--resume=auto"])
    assert again.trainer.global_step == whole.trainer.global_step == 8
    assert torch.equal(again.model.network.weight, whole.model.network.weight)


def test_a_step_that_hangs_ends_at_the_deadline(tmp_path: Path) -> None:
    began = time.monotonic()
    if (child := os.fork()) == 0:
        os.close(2)
        fit(tmp_path, SaveOnSignal(deadline=0.3), Sender(signal.SIGTERM, 1, seconds=60))
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WEXITSTATUS(status) == 128 + signal.SIGTERM
    assert time.monotonic() - began < 30


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A job of SLURM; the file that its tool writes its arguments into."""
    tool = tmp_path / "scontrol"
    tool.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/called\n')
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    return tmp_path / "called"


def test_a_job_is_queued_again(tmp_path: Path, slurm: Path) -> None:
    assert SaveOnSignal._requeued(Trainer(accelerator="cpu", logger=False, default_root_dir=tmp_path))
    assert slurm.read_text() == "requeue 17\n"


@pytest.mark.parametrize(("number", "queued"), [(signal.SIGUSR1, True), (signal.SIGTERM, False)])
def test_a_job_that_could_not_be_saved_is_queued_again_too(
    number: signal.Signals, queued: bool, tmp_path: Path, slurm: Path
) -> None:
    fork = Fork(fit, tmp_path, SaveOnSignal(deadline=0.3), Sender(number, 1, seconds=60))
    status, text = fork.wait(60)
    fork.close()
    assert status == 128 + number
    assert "No step was ended and saved within 0.3 s of the signal: the run stops" in text
    assert ("the job is in the queue again" in text) == queued == slurm.exists()


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(InputError, match="no signal SIGFOO"):
        SaveOnSignal(signals=("SIGFOO",))
    with pytest.raises(InputError, match="must be above 0"):
        SaveOnSignal(deadline=0)
