"""A checkpoint on the command line: what the command line says counts, and the difference is printed."""

from pathlib import Path
from typing import Any

import pytest
import torch
import toys  # noqa: F401  (its classes get short names)

from lightning_binding.cli import main
from lightning_binding.cli.resume import Difference, checkpoint_differences, resolve_checkpoint

ARGS = ["--model=ToyModel", "--data=ToyData", "--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false"]
ARGS += ["--trainer.logger=false", "--trainer.default_root_dir=out"]


@pytest.fixture(autouse=True)
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def fit(*options: str) -> Any:
    return main(["fit", *ARGS, *options])


SGD = ["--model.optimizer=torch.optim.SGD", "--model.optimizer.lr=0.1", "--model.optimizer.weight_decay=0.01"]


def test_resume_takes_up_the_run(told: list[str]) -> None:
    whole = fit(*SGD, "--trainer.max_epochs=2")
    first = fit(*SGD, "--trainer.max_epochs=1", "--trainer.default_root_dir=half")
    second = fit(*SGD, "--trainer.max_epochs=2", f"--ckpt_path={first.trainer.checkpoint_callback.best_model_path}")
    assert second.trainer.global_step == 4
    assert torch.equal(second.model.network.weight, whole.model.network.weight)
    assert not [line for line in told if "the checkpoint has" in line]
    assert second.config.weights_only is True  # nothing in the file is executed


def test_the_command_line_counts(told: list[str]) -> None:
    path = fit(*SGD, "--trainer.max_epochs=1").trainer.checkpoint_callback.best_model_path
    options = ["--model.optimizer=torch.optim.SGD", "--model.optimizer.lr=0.025", "--model.optimizer.weight_decay=0.5"]
    options += ["--model.part=ToyPart", "--model.part.gain=3", "--trainer.max_epochs=2", f"--ckpt_path={path}"]
    run = fit(*options)
    assert "model.init_args.part: ToyPart is used; the checkpoint has None." in told
    assert "model.init_args.optimizer.init_args.lr: 0.025 is used; the checkpoint has 0.1." in told
    assert run.model.part.gain == 3
    assert run.model.hparams["part"]["init_args"]["gain"] == 3
    matrices, vectors = run.trainer.optimizers[0].param_groups
    assert (matrices["lr"], vectors["lr"]) == (0.025, 0.025)
    assert (matrices["weight_decay"], vectors["weight_decay"]) == (0.5, 0.0)  # biases stay without decay
    assert run.trainer.global_step == 4


def test_what_else_the_run_had_is_said(told: list[str]) -> None:
    averaged = ["--trainer.callbacks+=EMA", "--trainer.callbacks.decay=0.9", "--seed_everything=1"]
    path = fit(*SGD, *averaged, "--trainer.max_epochs=1").trainer.checkpoint_callback.best_model_path
    fit(*SGD, *averaged, "--trainer.max_epochs=1", f"--ckpt_path={path}")
    said = "; the run of the checkpoint had"
    assert not [line for line in told if said in line or "random states" in line]
    averaged[1:] = ["--trainer.callbacks.decay=0.5", "--seed_everything=2", "--data.batch_size=1"]
    fit(*SGD, *averaged, "--trainer.max_epochs=2", "--trainer.callbacks+=HaltOnNonFinite", f"--ckpt_path={path}")
    assert {line for line in told if said in line} == {
        "trainer.max_epochs: 2 is used; the run of the checkpoint had 1.",
        "trainer.callbacks.EMA.init_args.decay: 0.5 is used; the run of the checkpoint had 0.9.",
        "trainer.callbacks.HaltOnNonFinite is used; the run of the checkpoint had none.",
        "data.init_args.batch_size: 1 is used; the run of the checkpoint had 2.",
    }
    assert "seed_everything: 2 was given; the random states of the checkpoint, begun with 1, go on." in told


def test_a_changed_rate_is_scheduled_on() -> None:
    schedule = ["--model.scheduler=WarmupCosine", "--model.scheduler.total_steps=8", "--model.scheduler.warmup_steps=2"]
    path = fit(*SGD, *schedule, "--trainer.max_epochs=2").trainer.checkpoint_callback.best_model_path
    resumed = fit(*SGD, *schedule, "--model.optimizer.lr=0.05", "--trainer.max_epochs=3", f"--ckpt_path={path}")
    scheduler = resumed.trainer.lr_scheduler_configs[0].scheduler
    assert scheduler.base_lrs == [0.05, 0.05]
    expected = 0.05 * scheduler.lr_lambdas[0](scheduler.last_epoch)
    assert resumed.trainer.optimizers[0].param_groups[0]["lr"] == pytest.approx(expected)


def test_evaluation_does_not_speak_of_training(told: list[str]) -> None:
    path = fit(*SGD, "--trainer.max_epochs=1").trainer.checkpoint_callback.best_model_path
    main(["test", *ARGS, "--model.optimizer=torch.optim.Adam", "--model.image_size=4", f"--ckpt_path={path}"])
    assert not [line for line in told if "the checkpoint has" in line]


def test_averaged_weights_are_named_with_the_callback_and_without(told: list[str]) -> None:
    callbacks = ["--trainer.callbacks+=EMA"]
    path = fit(*SGD, *callbacks, "--trainer.max_epochs=1").trainer.checkpoint_callback.best_model_path
    said = "EMA: these are the averaged weights of the checkpoint."
    for stage in ("validate", "test", "predict"):
        for options in (callbacks, []):
            del told[:]
            main([stage, *ARGS, *SGD, *options, f"--ckpt_path={path}"])
            assert told.count(said) == 1
    del told[:]
    fit(*SGD, "--trainer.max_epochs=2", f"--ckpt_path={path}")
    assert [line for line in told if line.startswith("EMA: training goes on from the averaged weights")]
    del told[:]
    fit(*SGD, *callbacks, "--trainer.max_epochs=2", f"--ckpt_path={path}")
    assert [line for line in told if line.startswith("EMA: ")] == [
        "EMA: validation, samples, test and export use the averaged weights (decay 0.9999, warmed up)."
    ]


def test_another_model_is_refused(capfd: pytest.CaptureFixture[str]) -> None:
    path = fit("--trainer.max_epochs=1").trainer.checkpoint_callback.best_model_path
    with pytest.raises(SystemExit):
        main(["test", *ARGS, "--model.width=5", f"--ckpt_path={path}"])
    assert "network.weight of shape (2, 16), the network (5, 16)" in capfd.readouterr().err


def test_last_is_the_newest_checkpoint() -> None:
    fit("--trainer.max_epochs=1")
    newest = fit("--trainer.max_epochs=2", "--ckpt_path=last").trainer.checkpoint_callback.best_model_path
    assert Path(str(resolve_checkpoint("last", Path("out"), "fit"))).samefile(newest)
    assert fit("--trainer.max_epochs=3", "--ckpt_path=last").trainer.global_step == 6


def test_keywords_and_addresses_are_lightning_s() -> None:
    assert resolve_checkpoint("best", Path("out"), "fit") == "best"
    assert resolve_checkpoint("hpc", Path("out"), "fit") == "hpc"
    assert resolve_checkpoint("s3://bucket/run.ckpt", Path("out"), "test") == "s3://bucket/run.ckpt"
    assert resolve_checkpoint(None, Path("out"), "fit") is None


def test_differences_name_the_key() -> None:
    run = fit(*SGD, "--trainer.max_epochs=1")
    path = run.trainer.checkpoint_callback.best_model_path
    config = {"class_path": "toys.ToyModel", "init_args": {"width": 2, "optimizer": {"class_path": "torch.optim.Adam"}}}
    found = checkpoint_differences(torch.load(path, weights_only=True), path, config, run.model)
    assert [difference.key for difference in found] == ["model.init_args.optimizer"]
    assert str(found[0]) == "model.init_args.optimizer: Adam is used; the checkpoint has SGD."
    assert isinstance(found[0], Difference)


STOP = ["--trainer.callbacks+=lightning.pytorch.callbacks.EarlyStopping", "--trainer.callbacks.monitor=val/loss"]


def test_what_a_callback_keeps_in_the_checkpoint_does_not_beat_the_command_line() -> None:
    first = fit(*SGD, *STOP, "--trainer.callbacks.patience=3", "--trainer.max_epochs=1")
    path = first.trainer.checkpoint_callback.best_model_path
    second = fit(*SGD, *STOP, "--trainer.callbacks.patience=50", "--trainer.max_epochs=2", f"--ckpt_path={path}")
    assert second.trainer.early_stopping_callback.patience == 50
    assert second.trainer.early_stopping_callback.stopped_epoch == 0


def test_what_a_scheduler_cannot_be_told_is_said(told: list[str]) -> None:
    cycle = [*SGD, "--model.scheduler=torch.optim.lr_scheduler.OneCycleLR", "--model.scheduler.total_steps=40"]
    path = fit(*cycle, "--model.scheduler.max_lr=0.5", "--trainer.max_epochs=1").trainer.checkpoint_callback
    fit(*cycle, "--model.scheduler.max_lr=0.001", "--trainer.max_epochs=2", f"--ckpt_path={path.best_model_path}")
    assert [line for line in told if "max_lr: 0.001 is not used after all; the state of the scheduler" in line]
