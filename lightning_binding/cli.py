"""The command line: the only place that knows every room of the house.

`fit`, `validate`, `test` and `predict` are Lightning's, with a `LightningCLI` for each; the other commands are plain
functions of the rooms, whose signatures become options. One parser is made for the one command that is run: its root
is then the root of the configuration, so that `${data.init_args.image_size}` means the same in every file and option.
"""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Any, NoReturn

os.environ.setdefault("JSONARGPARSE_DEPRECATION_WARNINGS", "off")  # what Lightning calls; nothing a user can mend

import torch
from docstring_parser import parse as parse_docstring
from jsonargparse import Namespace
from lightning.pytorch import LightningDataModule, Trainer
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.utilities import rank_zero_info
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from omegaconf.errors import OmegaConfBaseException

import lightning_binding.callbacks
import lightning_binding.data
import lightning_binding.rin.module
import lightning_binding.rin.sampling  # noqa: F401  (the rooms: an imported class has a short name in YAML)
from lightning_binding import export, runs
from lightning_binding.cli_configs import check_configs
from lightning_binding.cli_errors import condense, condense_interpolation, one_line, suggest
from lightning_binding.cli_resume import Overrides, checkpoint_differences, resolve_checkpoint
from lightning_binding.errors import InputError
from lightning_binding.module import BindingModule
from lightning_binding.rin import commands as rin

NAME = "lightning-binding"

COMMANDS: dict[str, Callable[..., Any]] = {"sample": rin.sample, "export": export.export}
STAGES: dict[str, str] = {
    "fit": "Trains a model, or goes on with a run.",
    "validate": "Evaluates a checkpoint on the validation set.",
    "test": "Evaluates a checkpoint on the test set.",
    "predict": "Writes a checkpoint's predictions.",
}
OF_TRAINING = ("model.init_args.optimizer", "model.init_args.scheduler")


class Parser(LightningArgumentParser):
    """A parser whose complaints are one line, and which takes whole option names only."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"allow_abbrev": False, **kwargs})

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Raises the complaint as an `InputError`; parsers inside of jsonargparse keep their own errors."""
        if not self.exit_on_error:
            super().error(message, ex)
        raise InputError(condense(message, self)) from ex


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
        parser.add_argument(
            "--vars",
            type=dict,
            default={},
            help="Values of your own, for use as ${vars.name} in the configuration: --vars.name value.",
        )
        skip = {"model", "datamodule", "dataloaders", "train_dataloaders", "val_dataloaders", "return_predictions"}
        parser.add_method_arguments(Trainer, self.stage, skip=skip)

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parses the options, and looks at the checkpoint."""
        check_configs(args)
        try:
            self.config = parser.parse_args(args)
        except OmegaConfBaseException as error:
            raise InputError(condense_interpolation(error)) from error
        config = self.config
        config.ckpt_path = resolve_checkpoint(config.ckpt_path, runs.base_folder(config), self.stage)

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Gives the run a folder of its own, and loggers that write there."""
        try:
            return super().instantiate_trainer(**runs.trainer_arguments(self.config), **kwargs)
        except (ValueError, TypeError) as error:  # the Trainer's own, on the values of its arguments
            raise InputError(f"trainer: {error}") from error

    def after_instantiate_classes(self) -> None:
        """Says where the checkpoint and the command line differ: the command line is what counts."""
        differences = checkpoint_differences(self.config.ckpt_path, self.config_dump["model"], self.model)
        for difference in differences:
            if self.stage == "fit" or not difference.key.startswith(OF_TRAINING):
                rank_zero_info(str(difference))
        if self.stage == "fit" and differences:
            self.trainer.callbacks.append(Overrides(differences))  # type: ignore[attr-defined]
        if self.stage != "fit" and self.config.ckpt_path is None:
            rank_zero_info("No --ckpt_path: the weights are those of a new model, before training.")

    def run(self) -> None:
        """Runs the stage."""
        names = ("ckpt_path", "weights_only")
        result = getattr(self.trainer, self.stage)(
            self.model, datamodule=self.datamodule, **{name: self.config[name] for name in names}
        )
        if self.stage == "predict":
            self.predictions = result
            runs.save_predictions(self.trainer, result)
        runs.report(self.trainer, self.stage)


def run_command(name: str, args: Sequence[str]) -> Any:
    """Runs a function of `COMMANDS` with its arguments from the command line."""
    function = COMMANDS[name]
    parser = Parser(prog=f"{NAME} {name}", description=_summary(function), parser_mode="yaml")
    parser.add_argument("-c", "--config", action="config", help="File with these options, in YAML.")
    parser.add_function_arguments(function, fail_untyped=True)
    check_configs(args)
    options: Namespace = parser.instantiate(parser.parse_args(list(args)))
    options.pop("config", None)
    return function(**options.as_dict())


def main(args: Sequence[str] | None = None) -> Any:
    """Runs the command line.

    Args:
        args: The arguments, such as `["fit", "--config", "configs/quickstart.yaml"]`; those of the shell when None.

    Returns:
        The `BindingCLI` (`.model`, `.datamodule`, `.trainer`) of a stage, or what the command returned.

    Raises:
        SystemExit: With status 2 and one line on stderr if the input is wrong.
    """
    args = sys.argv[1:] if args is None else list(args)
    runs.quieten()
    try:
        command = _command(args)
        if command in COMMANDS:
            return run_command(command, args[1:])
        cli = BindingCLI(command, args[1:])
        cli.run()
        return cli
    except Exception as error:
        wrong = _input_error(error)
        if wrong is None:
            raise
        print(f"{NAME}: error: {one_line(str(wrong))}", file=sys.stderr)
        raise SystemExit(2) from error


def _input_error(error: BaseException | None) -> BaseException | None:
    """The error about input that this one was raised from, if any: jsonargparse wraps those of constructors."""
    while error is not None and not isinstance(error, InputError | MisconfigurationException):
        error = error.__cause__
    return error


def shell() -> None:
    """The console script."""
    main()


def _command(args: Sequence[str]) -> str:
    """The command, which comes first; prints the help where that is asked for."""
    about = {**STAGES, **{name: _summary(function) for name, function in COMMANDS.items()}}
    if args and args[0] in about:
        return args[0]
    parser = argparse.ArgumentParser(
        prog=NAME,
        description="Scalable Binding (Jabri, 2023): train, evaluate and use its models.",
        epilog=f"Every command explains its options: {NAME} fit --help, {NAME} fit --model.help RINDiffusion. "
        "A run writes into runs/<name>/version_<n>, or into --trainer.default_root_dir.",
    )
    parser.add_argument("--version", action="version", version=f"{NAME} {version(NAME)}, torch {torch.__version__}")
    commands = parser.add_subparsers(dest="command", metavar="command", required=True)
    for name, text in about.items():
        commands.add_parser(name, help=text, add_help=False)
    if args and args[0] in ("-h", "--help", "--version"):
        parser.parse_args(args[:1])
    if not args:
        raise InputError(f"a command is missing; known are {', '.join(about)}.")
    raise InputError(f"{args[0]!r} is not a command{suggest(args[0], about, NAME)}")


def _summary(function: Callable[..., Any]) -> str:
    return parse_docstring(function.__doc__ or "").short_description or ""
