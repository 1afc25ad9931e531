"""The folder of a run: where it is, what is written into it, what the user is told."""

import logging
import os
import warnings
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from jsonargparse import Namespace
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import Logger, TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_info

from lightning_binding.checkpoints import VerifiedCheckpointIO
from lightning_binding.metric_log import MetricLog
from lightning_binding.weights import read_checkpoint


def base_folder(config: Namespace, files: Sequence[str]) -> Path:
    """The folder that holds all runs of a configuration: `runs/<name>`, or `trainer.default_root_dir`.

    The name is that of the first configuration file (the original's, for a `config.yaml` of an earlier run), else of
    the model's class.

    Args:
        config: The configuration.
        files: The configuration files that were given.
    """
    if config.trainer.default_root_dir is not None:
        return Path(config.trainer.default_root_dir)
    if not files:
        return Path("runs") / str(config.model.class_path).rpartition(".")[2]
    path = Path(files[0]).absolute()
    if path.stem == "config":
        path = path.parent
        path = path.parent if path.name.startswith(("version_", "job_")) else path
    return Path("runs") / path.stem


def run_folder(config: Namespace, files: Sequence[str]) -> Path:
    """The folder of this run alone.

    Under SLURM it bears the job's number, so that a requeued job comes back to it. It is the Trainer's
    `default_root_dir` as well: Lightning resumes from any `hpc_ckpt_*` that it finds there.
    """
    base = base_folder(config, files)
    if config.trainer.default_root_dir is not None:
        return base
    if "SLURM_JOB_ID" in os.environ:
        return base / f"job_{os.environ['SLURM_JOB_ID']}"
    taken = [int(path.name[8:]) for path in base.glob("version_*") if path.name[8:].isdigit()]
    return base / f"version_{max(taken, default=-1) + 1}"


def trainer_arguments(config: Namespace, files: Sequence[str], resumed: str | None = None) -> dict[str, Any]:
    """The Trainer's arguments for which the command line has defaults of its own: folder, loggers, safe checkpoints.

    Args:
        config: The configuration.
        files: The configuration files that were given.
        resumed: A checkpoint whose run goes on in its own folder.
    """
    folder = run_folder(config, files) if resumed is None else folder_of(resumed)
    arguments: dict[str, Any] = {"default_root_dir": str(folder)}
    if config.trainer.logger in (None, True) and not config.trainer.barebones:
        arguments["logger"] = loggers(folder, None if resumed is None else int(read_checkpoint(resumed)["global_step"]))
    strategy = config.trainer.strategy
    if config.trainer.plugins is None and isinstance(strategy, str) and strategy.startswith(("auto", "ddp")):
        arguments["plugins"] = [VerifiedCheckpointIO()]
    return arguments


def folder_of(checkpoint: str | Path) -> Path:
    """The folder of the run that wrote a checkpoint."""
    folder = Path(checkpoint).parent
    return folder.parent if folder.name == "checkpoints" else folder


def loggers(folder: Path, from_step: int | None = None) -> list[Logger]:
    """A CSV logger, and TensorBoard's where it is installed, both writing into the folder itself.

    Args:
        folder: The folder.
        from_step: The step from which the run in the folder goes on; None for a new run.
    """
    found: list[Logger] = [MetricLog(folder, from_step)]
    if find_spec("tensorboard") or find_spec("tensorboardX"):
        options: dict[str, Any] = {} if from_step is None else {"purge_step": from_step}
        found.append(TensorBoardLogger(folder, name="", version="", default_hp_metric=False, **options))
    return found


def save_predictions(trainer: Trainer, predictions: Any) -> None:
    """Writes what `predict` returned as `predictions.pt` into the run's folder, one file for each process."""
    rank = f"-{trainer.global_rank}" if trainer.world_size > 1 else ""
    path = Path(trainer.log_dir or trainer.default_root_dir) / f"predictions{rank}.pt"
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(predictions, path)
    rank_zero_info(f"Predictions: {path}, a list of batches for torch.load.")


def report(trainer: Trainer, stage: str) -> None:
    """Says where the run is, and how to go on."""
    if trainer.fast_dev_run:  # type: ignore[attr-defined]
        return
    folder = Path(trainer.log_dir or trainer.default_root_dir)
    rank_zero_info(f"Run folder: {folder}")
    checkpoint = trainer.checkpoint_callback
    if stage == "fit" and isinstance(checkpoint, ModelCheckpoint):
        path = checkpoint.last_model_path or checkpoint.best_model_path
        if path:
            rank_zero_info(f"Checkpoint: {_short(path)}")
            rank_zero_info(
                f"To go on: lightning-binding fit --config {folder / 'config.yaml'} --ckpt_path {_short(path)}"
            )


def _short(path: str) -> Path:
    """The path from here, where that is shorter."""
    return Path(path).relative_to(Path.cwd()) if Path(path).is_relative_to(Path.cwd()) else Path(path)


class _Tips(logging.Filter):
    """Drops what Lightning advertises."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Keeps everything but tips."""
        return "Tip:" not in record.getMessage()


_TIPS = _Tips()


def quieten() -> None:
    """Drops messages that a user can do nothing about."""
    logging.getLogger("lightning.pytorch.utilities.rank_zero").addFilter(_TIPS)
    for message in (
        ".*LeafSpec.*is deprecated",
        "Experiment logs directory .* exists and is not empty",  # what it held is kept, see `MetricLog`
        "Checkpoint directory .* exists and is not empty",
        "The dirpath has changed from",  # every run has its own
        "Your `IterableDataset` has `__len__` defined",  # rollouts have an exact one, and no workers
        "You have overridden `on_before_batch_transfer` in `LightningModule`",
        "FSDP2-wrapped module .* returned a view tensor",  # which nothing here writes into
    ):
        warnings.filterwarnings("ignore", message=message)
