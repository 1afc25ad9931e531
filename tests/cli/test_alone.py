"""Two commands on one folder of a run: the second is refused while the first lives, however that ends."""

import errno
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import toys
from forks import Fork
from launching import free_port

from lightning_binding import InputError
from lightning_binding.cli import main
from lightning_binding.holding import NAME, held

TOY = ["--model=ToyModel", "--data=ToyData", "--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false"]
TOY += ["--trainer.max_epochs=2", "--trainer.callbacks+=RotatingCheckpoint", "--trainer.callbacks.every_n_steps=1"]
OUT = ["--trainer.default_root_dir=out", "--resume=auto"]


@pytest.fixture(autouse=True)
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)


def fit(*options: str) -> Any:
    return main(["fit", *TOY, *options])


def slow(*options: str) -> None:
    """A fit that waits before its third step, until there is a file `gate`."""
    step = toys.ToyModel.training_step

    def wait(self: toys.ToyModel, batch: Any, index: int) -> Any:
        if self.global_step == 2:
            Path(f"waiting-{self.global_rank}").touch()
            while not Path("gate").exists():
                time.sleep(0.01)
        return step(self, batch, index)

    toys.ToyModel.training_step = wait  # type: ignore[method-assign]
    fit(*options)


def begun(*processes: Fork) -> tuple[Fork, ...]:
    """Processes that are in the middle of their fit."""
    deadline = time.monotonic() + 120
    for rank, process in enumerate(processes):
        while not Path(f"waiting-{rank}").exists():
            assert process.process.is_alive(), process.wait(0)[1]
            assert time.monotonic() < deadline
            time.sleep(0.01)
    return processes


def files(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def refused(capfd: pytest.CaptureFixture[str], first: Fork, folder: str, *options: str) -> None:
    """The command says who is at work, and leaves everything as it is."""
    before = files(Path())
    with pytest.raises(SystemExit) as ended:
        fit(*options)
    assert ended.value.code == 2
    text = " ".join(capfd.readouterr().err.split())
    assert f"{folder} is being written by process {first.process.pid} on " in text, text
    assert "wait for it, or end it and give the command again with --resume auto" in text
    assert files(Path()) == before


def test_the_second_is_refused_until_the_first_is_killed(capfd: pytest.CaptureFixture[str]) -> None:
    (first,) = begun(Fork(slow, *OUT))
    try:
        refused(capfd, first, "out", *OUT)
        refused(capfd, first, "out", "--trainer.default_root_dir=out")
        refused(capfd, first, "out", *OUT, "--trainer.logger=false")
        fit(*OUT, "--trainer.fast_dev_run=true")  # which writes nothing
        os.kill(first.process.pid or 0, signal.SIGKILL)
        assert first.wait(60)[0] == -signal.SIGKILL
        assert Path("out", NAME).exists()
        assert fit(*OUT).trainer.global_step == 4
        assert not Path("out", NAME).exists()
        assert sorted(path.name for path in Path("out/checkpoints").iterdir()) == ["step=3.ckpt", "step=4.ckpt"]
    finally:
        first.close()


def test_the_folders_of_runs(capfd: pytest.CaptureFixture[str]) -> None:
    """A new run is not in the way of another; a run that is going on is not gone on with."""
    (first,) = begun(Fork(slow))
    try:
        refused(capfd, first, "runs/ToyModel/version_0", "--resume=auto")
        assert fit().trainer.default_root_dir.endswith("version_1")
        Path("gate").touch()
        status, text = first.wait(60)
        assert status == 0, text
        assert not list(Path().rglob(NAME))
    finally:
        first.close()


def test_a_job_that_comes_back_while_its_first_lives(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    monkeypatch.setenv("SLURM_JOB_NAME", "interactive")  # Lightning then leaves the scheduler alone
    (first,) = begun(Fork(slow, "--resume=auto"))
    try:
        refused(capfd, first, "runs/ToyModel/job_17", "--resume=auto")
    finally:
        first.close()


def test_a_logger_of_the_user_s_own(capfd: pytest.CaptureFixture[str]) -> None:
    """Its runs share a folder, and each has its own in there, which is the one that is held."""
    own = ["--trainer.logger=CSVLogger", "--trainer.logger.save_dir=out", *OUT]
    (first,) = begun(Fork(slow, *own))
    try:
        refused(capfd, first, "out/lightning_logs/version_0", *own)
        assert fit(*own[:3]).trainer.log_dir == "out/lightning_logs/version_1"
    finally:
        first.close()


def ranks(*options: str) -> list[Fork]:
    """Two ranks as torchrun would start them."""
    group = {"WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2, "GROUP_RANK": 0, "TORCHELASTIC_RUN_ID": "test"}
    group |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port()}
    two = ["--trainer.devices=2", "--trainer.strategy=ddp"]
    return [Fork(slow, *two, *options, environment={**group, "RANK": rank, "LOCAL_RANK": rank}) for rank in range(2)]


def test_two_ranks_share_a_folder(capfd: pytest.CaptureFixture[str]) -> None:
    first = begun(*ranks(*OUT, "--trainer.max_epochs=4"))  # a new folder
    try:
        refused(capfd, first[0], "out", *OUT)
    finally:
        for rank in first:
            rank.close()
    for rank in (second := ranks(*OUT, "--trainer.max_epochs=4")):  # and one that is there
        Path("gate").touch()
        status, text = rank.wait(120)
        assert status == 0, text
    for rank in second:
        rank.close()
    assert not list(Path().rglob(NAME))


def test_two_ranks_in_a_folder_that_is_taken() -> None:
    (first,) = begun(Fork(slow, *OUT))
    second = ranks("--trainer.default_root_dir=out")
    try:
        status, text = second[0].wait(60)
        assert status == 1, text  # of `SystemExit` in a fork
        assert f"out is being written by process {first.process.pid} on " in text
    finally:
        for each in (first, *second):
            each.close()


TWO = ["--trainer.devices=2", *OUT]


def test_ranks_that_are_forks() -> None:
    """They are no others, in a new folder and in one that is there."""
    for epochs in (1, 2):
        fork = Fork(fit, "--trainer.strategy=ddp_fork", *TWO, f"--trainer.max_epochs={epochs}")
        status, text = fork.wait(120)
        fork.close()
        assert status == 0, text
        assert Path(f"out/checkpoints/step={epochs}.ckpt").exists()
    assert not list(Path().rglob(NAME))


@pytest.mark.long
def test_ranks_that_lightning_starts() -> None:
    """Nor are programs that the first one starts."""
    Path("run.py").write_text("import toys, sys; from lightning_binding.cli import main; main(sys.argv[1:])")
    path = os.pathsep.join([str(Path(toys.__file__).parent), *sys.path])
    fit(*OUT, "--trainer.max_epochs=1", "--trainer.logger=false")
    shutil.rmtree("out/checkpoints")
    command = [sys.executable, "run.py", "fit", *TOY, *TWO, "--trainer.strategy=ddp"]
    environment = os.environ | {"PYTHONPATH": path}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)
    assert result.returncode == 0, result.stderr
    assert Path("out/checkpoints/step=2.ckpt").exists()
    assert not list(Path().rglob(NAME))


def test_once_in_a_process(tmp_path: Path) -> None:
    """The system's locks do not keep a process from itself."""
    again = pytest.raises(InputError, match="by this very process: wait for it, or")
    with held(tmp_path, "--out", "or not."), again, held(tmp_path, "--out", "or not."):
        pass
    with held(tmp_path, "--out", "or not."):
        pass
    assert not list(tmp_path.iterdir())


def test_the_lock_of_a_machine_that_died_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: list[str]
) -> None:
    """A file system that frees it after two refusals."""
    (tmp_path / NAME).write_text("process 7 on another, since yesterday")
    answers = [OSError(errno.EAGAIN, "taken")] * 2
    lockf = fcntl.lockf

    def late(file: int, how: int) -> None:
        if answers:
            raise answers.pop()
        lockf(file, how)

    monkeypatch.setattr(fcntl, "lockf", late)
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    with held(tmp_path, "--out", "or not.", lease=100.0):
        assert [line for line in told if "is held by process 7 on another, since yesterday: waiting" in line]
    answers.append(OSError(errno.EAGAIN, "taken"))
    (tmp_path / NAME).write_text("process 7 on another, since yesterday")
    with pytest.raises(InputError, match="written by process 7 on another"), held(tmp_path, "--out", "or not."):
        pass


def test_a_file_system_without_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    def lockf(file: int, how: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "lockf", lockf)
    assert fit(*OUT).trainer.global_step == 4


def test_a_folder_that_cannot_be_written(capfd: pytest.CaptureFixture[str]) -> None:
    Path("out").touch()
    with pytest.raises(SystemExit):
        fit("--trainer.default_root_dir=out")
    assert "--trainer.default_root_dir out: the folder cannot be written" in capfd.readouterr().err
