"""Which checkpoints there are after a run, and where in it they are written."""

from pathlib import Path
from typing import Any

import pytest
import torch
import toys

from lightning_binding.callbacks import ExactResume, RotatingCheckpoint
from lightning_binding.cli import main
from lightning_binding.errors import InputError

ARGS = ["--model=ToyModel", "--data=ToyData", "--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false"]


@pytest.fixture(autouse=True)
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def fit(*options: str) -> Any:
    return main(["fit", *ARGS, "--trainer.callbacks+=RotatingCheckpoint", *options])


def steps(folder: str = "runs/ToyModel/version_0") -> list[int]:
    return sorted(int(file.stem.removeprefix("step=")) for file in Path(folder, "checkpoints").iterdir())


def test_the_newest_are_kept() -> None:
    run = fit("--trainer.callbacks.every_n_steps=1", "--trainer.max_epochs=3")
    assert run.trainer.global_step == 6
    assert steps() == [5, 6]
    assert run.trainer.checkpoint_callback.best_model_path.endswith("step=6.ckpt")


def test_the_end_is_kept_whatever_its_step() -> None:
    fit("--trainer.callbacks.every_n_steps=4", "--trainer.max_epochs=3", "--trainer.callbacks.keep=1")
    assert steps() == [6]


def test_none_between_accumulated_batches() -> None:
    fit("--trainer.callbacks.minutes=1e-9", "--trainer.accumulate_grad_batches=2", "--trainer.max_epochs=2")
    assert steps() == [1, 2]


def test_resume_auto_goes_on_in_the_folder_and_begins_where_there_is_none(told: list[str]) -> None:
    first = fit("--trainer.callbacks.every_n_steps=1", "--trainer.max_epochs=1", "--resume=auto")
    assert any("a new run begins" in line for line in told)
    whole = fit("--trainer.max_epochs=3", "--trainer.default_root_dir=whole")
    again = fit("--trainer.callbacks.every_n_steps=1", "--trainer.max_epochs=3", "--resume=auto")
    assert any(
        line.startswith("--resume auto: going on from runs/ToyModel/version_0/checkpoints/step=2") for line in told
    )
    assert again.trainer.default_root_dir == first.trainer.default_root_dir
    assert torch.equal(again.model.network.weight, whole.model.network.weight)


def test_resume_auto_passes_a_damaged_one_over(told: list[str]) -> None:
    fit("--trainer.callbacks.every_n_steps=1", "--trainer.max_epochs=2")
    newest = Path("runs/ToyModel/version_0/checkpoints/step=4.ckpt")
    content = newest.read_bytes()
    newest.write_bytes(content[: len(content) // 2])
    run = fit("--trainer.callbacks.every_n_steps=1", "--trainer.max_epochs=3", "--resume=auto")
    assert any("step=4.ckpt" in line and line.endswith("The one before is used.") for line in told)
    assert any("going on from runs/ToyModel/version_0/checkpoints/step=3.ckpt" in line for line in told)
    assert run.trainer.global_step == 6
    assert steps() == [5, 6]


def test_resume_auto_and_a_path_contradict(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        fit("--resume=auto", "--ckpt_path=last")
    assert "give either" in capfd.readouterr().err


def test_another_number_of_processes_is_refused() -> None:
    run = fit("--trainer.max_epochs=1")
    checkpoint = torch.load(run.trainer.checkpoint_callback.best_model_path, weights_only=True)
    checkpoint["random_states"] *= 2
    run.trainer.state.fn = "fit"
    with pytest.raises(InputError, match="written by 2 processes and would go on with 1"):
        ExactResume().on_load_checkpoint(run.trainer, run.model, checkpoint)


@pytest.mark.parametrize("wrong", [{"every_n_steps": 0}, {"keep": 0}, {"minutes": -1.0}])
def test_wrong_numbers_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=f"{next(iter(wrong))} is .*; it must be above 0"):
        RotatingCheckpoint(**wrong)


assert toys  # its classes get short names


def test_what_a_crash_left_unfinished_is_removed() -> None:
    fit("--trainer.max_epochs=1")
    folder = Path("runs/ToyModel/version_0/checkpoints")
    (folder / "step=9.ckpt.part").write_bytes(b"half")
    (folder / "notes.txt").write_text("mine")
    fit("--trainer.max_epochs=2", "--resume=auto")
    assert sorted(file.name for file in folder.iterdir()) == ["notes.txt", "step=2.ckpt", "step=4.ckpt"]
