"""Checkpoints that are damaged, cut off, or that no disk has room for."""

import resource
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import torch
import toys
from forks import Fork
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lightning.pytorch import Callback, Trainer

from lightning_binding.callbacks import ExactResume, RotatingCheckpoint
from lightning_binding.checkpoints import UNFINISHED, VerifiedCheckpointIO, await_written, verify, write_checkpoint
from lightning_binding.errors import InputError
from lightning_binding.metric_log import MetricLog
from lightning_binding.weights import newest_valid, read_checkpoint

STATE: dict[str, Any] = {"state_dict": {"w": torch.arange(2000.0)}, "global_step": 7}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("whole") / "a.ckpt"
    write_checkpoint(STATE, path)
    return path


def test_any_reader_reads_it(whole: Path) -> None:
    assert verify(whole)
    for found in (
        torch.load(whole, weights_only=True),
        read_checkpoint(whole),
        VerifiedCheckpointIO().load_checkpoint(whole),
    ):
        assert torch.equal(found["state_dict"]["w"], STATE["state_dict"]["w"])
    assert not list(whole.parent.glob(f"*{UNFINISHED}"))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_changed_bit_and_any_cut_is_found(whole: Path, tmp_path: Path, data: st.DataObject) -> None:
    content = bytearray(whole.read_bytes())
    if data.draw(st.booleans()):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place] ^= 1 << data.draw(st.integers(0, 7))
    else:
        del content[data.draw(st.integers(0, len(content) - 1)) :]
    damaged = tmp_path / "damaged.ckpt"
    damaged.write_bytes(content)
    with pytest.raises(InputError, match=r"damaged"):
        read_checkpoint(damaged)


def test_a_checkpoint_of_another_program_passes(tmp_path: Path) -> None:
    torch.save(STATE, tmp_path / "plain.ckpt")
    assert not verify(tmp_path / "plain.ckpt")
    assert read_checkpoint(tmp_path / "plain.ckpt")["global_step"] == 7


def test_the_one_before_is_used(whole: Path, tmp_path: Path) -> None:
    for name in ("old", "new"):
        (tmp_path / f"{name}.ckpt").write_bytes(whole.read_bytes())
    torch.save({"x": 1}, tmp_path / "no_checkpoint.ckpt")
    (tmp_path / "nonfinite-step=7.ckpt").write_bytes(whole.read_bytes())  # whole, and newer, but not gone on with
    (tmp_path / "new.ckpt").write_bytes(whole.read_bytes()[:-100])
    told: list[str] = []
    assert newest_valid(tmp_path.glob("*.ckpt"), told.append) == tmp_path / "old.ckpt"
    assert len(told) == 2
    assert all(line.endswith("The one before is used.") for line in told)
    assert newest_valid([], told.append) is None


def test_a_full_disk_leaves_the_last_one_intact(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    write_checkpoint(STATE, path)
    before = path.read_bytes()
    limits, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))  # the system refuses to write more, as a full disk
    try:
        with pytest.raises(InputError, match=r"cannot be written .* the checkpoints before it are intact"):
            write_checkpoint({"state_dict": {"w": torch.zeros(100_000)}}, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["last.ckpt"]


def test_a_checkpoint_that_is_being_written_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save, slow, begun = torch.save, 2.0, threading.Event()

    def slowly(*arguments: Any) -> None:
        begun.set()
        time.sleep(slow)
        save(*arguments)

    monkeypatch.setattr(torch, "save", slowly)
    writer = threading.Thread(target=write_checkpoint, args=(STATE, tmp_path / "a.ckpt"))
    writer.start()
    assert begun.wait(20)
    await_written(0.1)
    assert not (tmp_path / "a.ckpt").exists()  # it is not waited for longer than that
    await_written(60)
    assert verify(tmp_path / "a.ckpt")
    writer.join()
    began = time.monotonic()
    await_written(60)
    assert time.monotonic() - began < 1


class Filling(Callback):
    """After the second step, the disk has no room for a checkpoint any more."""

    def on_train_batch_end(self, trainer: Trainer, *args: Any) -> None:
        if trainer.global_step == 2:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))


def fills(folder: Path) -> None:
    trainer = Trainer(
        accelerator="cpu", max_epochs=4, default_root_dir=folder, logger=MetricLog(folder), enable_progress_bar=False,
        callbacks=[RotatingCheckpoint(every_n_steps=1), Filling(), ExactResume()], plugins=VerifiedCheckpointIO(),
    )  # fmt: skip
    with pytest.raises(InputError) as found:
        trainer.fit(toys.ToyModel(), toys.ToyData())
    (folder / "said").write_text(str(found.value))


def test_a_run_whose_disk_fills_up_stops_with_the_last_checkpoint_intact(tmp_path: Path) -> None:
    fork = Fork(fills, tmp_path)
    status, text = fork.wait(60)
    fork.close()
    assert status == 0, text
    said = (tmp_path / "said").read_text()
    assert "so training stops; the checkpoints before it are intact" in said
    files = sorted((tmp_path / "checkpoints").iterdir())
    assert files[-1].name == "step=1.ckpt"
    assert "step=3.ckpt cannot be written" in said  # none is written at the end of an epoch, which is the second step
    assert all(verify(file) for file in files)
