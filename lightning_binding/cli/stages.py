"""Lightning's commands: fit, validate, test and predict."""

from argparse import SUPPRESS
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Literal

import torch.distributed
from jsonargparse import Namespace
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import LightningDataModule, Trainer
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.utilities import rank_zero_info
from omegaconf.errors import OmegaConfBaseException

from lightning_binding.callbacks.exact_resume import ExactResume
from lightning_binding.cli import runs
from lightning_binding.cli.alone import alone
from lightning_binding.cli.configs import check_configs, without_method
from lightning_binding.cli.errors import condense_interpolation, of_the_trainer
from lightning_binding.cli.overrides import Overrides
from lightning_binding.cli.parser import NAME, Parser, whole_numbers_first
from lightning_binding.cli.resume import (
    callback_differences,
    checkpoint_differences,
    of_the_average,
    resolve_checkpoint,
    run_differences,
    run_to_resume,
)
from lightning_binding.errors import InputError
from lightning_binding.module import BindingModule
from lightning_binding.together import world_size
from lightning_binding.weights import read_checkpoint

STAGES: dict[str, str] = {
    "fit": "Trains a model, or goes on with a run.",
    "validate": "Evaluates a checkpoint on the validation set.",
    "test": "Evaluates a checkpoint on the test set.",
    "predict": "Writes a checkpoint's predictions.",
}
OF_TRAINING = ("model.init_args.optimizer", "model.init_args.scheduler")


def parse(parser: LightningArgumentParser, args: Sequence[str]) -> Namespace:
    """The options of a stage, with their files, defaults and interpolations.

    Raises:
        InputError: In one line, if they are wrong.
    """
    try:
        return parser.parse_args(list(args))
    except OmegaConfBaseException as error:
        raise InputError(condense_interpolation(error)) from error


class BindingCLI(LightningCLI):
    """LightningCLI for one stage, with run folders, checkpoints that do not overrule the command line, and `vars`.

    Args:
        stage: `fit`, `validate`, `test` or `predict`.
        args: The options that follow the stage.
    """

    def __init__(self, stage: str, args: Sequence[str]) -> None:
        self.stage = stage
        self.predictions: Any = None
        super().__init__(
            BindingModule,
            LightningDataModule,
            subclass_mode_model=True,
            subclass_mode_data=True,
            seed_everything_default=0,
            save_config_kwargs={"overwrite": True},
            parser_class=Parser,
            parser_kwargs={"prog": f"{NAME} {stage}", "description": STAGES[stage], "parser_mode": "omegaconf+"},
            auto_configure_optimizers=False,
            args=list(args),
            run=False,
        )

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Adds `vars`, and the arguments of the Trainer's method."""
        whole_numbers_first(parser)
        parser.add_argument(
            "--vars",
            type=dict,
            default={},
            help="Values of your own, for use as ${vars.name} in the configuration: --vars.name value.",
        )
        about = (
            "auto: go on, in its folder, from the newest whole checkpoint of the runs of this configuration, or begin "
            "one; the same command then starts a run and takes it up after any interruption."
        )
        if self.stage != "fit":
            about = SUPPRESS  # so that the config.yaml of a run serves to evaluate it
        parser.add_argument("--resume", type=Literal["auto", "never"], default="never", help=about)
        skip = {"model", "datamodule", "dataloaders", "train_dataloaders", "val_dataloaders", "return_predictions"}
        parser.add_method_arguments(Trainer, self.stage, skip=skip)
        parser.set_defaults({"weights_only": True})  # nothing in a checkpoint is executed

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parses the options, and looks at the checkpoint."""
        self.files = check_configs(args)
        try:
            self.config = config = parse(parser, args)
        except InputError as error:
            raise InputError(f"{error}{without_method(str(error), self.files, self.stage)}") from error
        base = runs.base_folder(config, self.files)
        self.resumed = run_to_resume(config.resume, config.ckpt_path, base) if self.stage == "fit" else None
        config.ckpt_path = self.resumed or resolve_checkpoint(config.ckpt_path, base, self.stage)

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Gives the run a folder of its own, and loggers that write there."""
        try:
            return super().instantiate_trainer(
                **runs.trainer_arguments(self.config, self.files, self.resumed), **kwargs
            )
        except (ValueError, TypeError, RuntimeError, MisconfigurationException) as error:  # on its arguments' values
            raise InputError(of_the_trainer(str(error))) from error

    def after_instantiate_classes(self) -> None:
        """Says where the checkpoint and the command line differ: the command line is what counts."""
        path, differences, changed = self.config.ckpt_path, [], []
        if path is not None and Path(path).is_file():
            checkpoint = read_checkpoint(path)
            fits = self.stage == "fit"
            differences = checkpoint_differences(checkpoint, path, self.config_dump["model"], self.model, fits)
            if told := of_the_average(checkpoint, self.stage, self.trainer.callbacks):  # type: ignore[attr-defined]
                rank_zero_info(told)
            if fits:
                changed = callback_differences(path, self.config_dump)
                for sentence in run_differences(path, self.config_dump, self.datamodule, checkpoint):
                    rank_zero_info(sentence)
        for difference in differences:
            if self.stage == "fit" or not difference.key.startswith(OF_TRAINING):
                rank_zero_info(str(difference))
        callbacks = self.trainer.callbacks  # type: ignore[attr-defined]
        if self.stage == "fit" and not any(isinstance(callback, ExactResume) for callback in callbacks):
            callbacks.insert(0, ExactResume())
        if self.stage == "fit" and (differences or changed):
            callbacks.append(Overrides(differences, changed))
        given = self.config_dump["model"].get("init_args", {})
        sources = [name for name, default in self.model.sources.items() if given.get(name, default) != default]
        if self.stage != "fit" and self.config.ckpt_path is None and not sources:
            rank_zero_info("No --ckpt_path: the weights are those of a new model, before training.")

    def run(self) -> None:
        """Runs the stage."""
        joined = world_size()
        names = [name for name in ("ckpt_path", "weights_only", "verbose") if name in self.config]
        with alone(self.trainer, self.resumed is not None) if self.stage == "fit" else nullcontext():
            result = getattr(self.trainer, self.stage)(
                self.model, datamodule=self.datamodule, **{name: self.config[name] for name in names}
            )
        if self.stage == "predict":
            self.predictions = result
            runs.save_predictions(self.trainer, result)
        runs.report(self.trainer, self.stage)
        if joined == 1 and world_size() > 1:  # threads of gloo that outlive Python end the process by a signal
            torch.distributed.destroy_process_group()
