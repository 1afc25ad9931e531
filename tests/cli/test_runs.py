"""The folder of a run."""

import csv
from pathlib import Path

import pytest
import torch
import toys  # noqa: F401  (its classes get short names)
from lightning.pytorch.loggers import TensorBoardLogger

from lightning_binding.cli import main
from lightning_binding.metric_log import MetricLog

ARGS = ["--model", "ToyModel", "--data", "ToyData", "--trainer.max_epochs=1", "--trainer.accelerator=cpu"]
ARGS += ["--trainer.enable_progress_bar=false", "--trainer.log_every_n_steps=1"]


@pytest.fixture(autouse=True)
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)


def test_every_run_has_a_folder_and_the_user_is_told(told: list[str]) -> None:
    run = main(["fit", *ARGS])
    folder = Path("runs/ToyModel/version_0")
    names = {path.name for path in folder.iterdir()}
    assert {"config.yaml", "metrics.csv", "hparams.yaml", "checkpoints"} <= names
    assert any(name.startswith("events.out.tfevents") for name in names)
    assert [type(logger) for logger in run.trainer.loggers] == [MetricLog, TensorBoardLogger]
    assert f"Run folder: {folder}" in told
    command = next(line for line in told if line.startswith("To go on: lightning-binding "))
    main(["fit", *ARGS])
    assert Path("runs/ToyModel/version_1/metrics.csv").exists()
    again = main([*command.split()[4:], "--trainer.max_epochs=2"])  # what was said works, from the saved configuration
    assert again.trainer.current_epoch == 2
    assert Path("runs/ToyModel/version_2/config.yaml").exists()


def test_name_of_a_run_is_that_of_its_configuration() -> None:
    Path("first.yaml").write_text("trainer: {max_epochs: 1}")
    main(["fit", "--config", "first.yaml", *ARGS])
    main(["fit", "--config", "runs/first/version_0/config.yaml"])
    assert sorted(path.name for path in Path("runs").iterdir()) == ["first"]
    assert sorted(path.name for path in Path("runs/first").iterdir()) == ["version_0", "version_1"]


def test_a_given_folder_is_taken_as_it_is_and_loses_nothing() -> None:
    for _ in range(2):
        main(["fit", *ARGS, "--trainer.default_root_dir=out"])
    assert Path("out/config.yaml").exists()
    assert Path("out/metrics.csv").exists()
    assert Path("out/metrics.0.csv").exists()
    assert not Path("runs").exists()
    with Path("out/metrics.0.csv").open() as file:
        assert len(list(csv.DictReader(file))) >= 2


def test_slurm_job_comes_back_to_its_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    monkeypatch.setenv("SLURM_JOB_NAME", "interactive")  # Lightning then leaves the scheduler alone
    for _ in range(2):
        main(["fit", *ARGS])
    assert [path.name for path in Path("runs/ToyModel").iterdir()] == ["job_17"]


def test_fast_dev_run_leaves_nothing() -> None:
    main(["fit", *ARGS, "--trainer.fast_dev_run=true"])
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize("logger", ["false", "CSVLogger"])
def test_the_user_s_logger_is_kept(logger: str) -> None:
    options = ["--trainer.logger.save_dir=mine"] if logger == "CSVLogger" else []
    run = main(["fit", *ARGS, f"--trainer.logger={logger}", *options])
    assert len(run.trainer.loggers) == len(options)
    assert Path("mine/lightning_logs/version_0/config.yaml").exists() == bool(options)


def test_predictions_are_written(told: list[str]) -> None:
    run = main(["predict", *ARGS])
    path = Path("runs/ToyModel/version_0/predictions.pt")
    saved = torch.load(path, weights_only=True)
    for batch, expected in zip(saved, run.predictions, strict=True):
        assert torch.equal(batch, expected)
    assert any(str(path) in line for line in told)
    assert any(line.startswith("No --ckpt_path: the weights are those of a new model") for line in told)


def test_a_run_s_configuration_serves_to_evaluate_it(capsys: pytest.CaptureFixture[str]) -> None:
    run = main(["fit", *ARGS, "--trainer.default_root_dir=out", "--resume=auto"])
    path = run.trainer.checkpoint_callback.best_model_path
    options = ["validate", "--config", "out/config.yaml", "--ckpt_path", path, "--trainer.default_root_dir=judged"]
    capsys.readouterr()
    main(options)
    assert Path("judged/metrics.csv").exists()
    assert "val/loss" in capsys.readouterr().out
    main([*options, "--verbose=false"])
    assert "val/loss" not in capsys.readouterr().out
