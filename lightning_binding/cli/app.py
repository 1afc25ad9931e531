"""`main`: chooses the command and runs it.

One parser is made for the one command that is run. Its root is then the root of the configuration, so that
`${data.init_args.image_size}` means the same in every file and option.
"""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Any

os.environ.setdefault("JSONARGPARSE_DEPRECATION_WARNINGS", "off")  # what Lightning calls; nothing a user can mend

import timm.optim  # noqa: F401  (Lamb, and the rooms below: what is imported here has a short name in YAML)
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException

import lightning_binding.callbacks
import lightning_binding.carml.data
import lightning_binding.carml.features
import lightning_binding.carml.module
import lightning_binding.carml.rnd
import lightning_binding.carml.worlds
import lightning_binding.crw.dense
import lightning_binding.crw.module
import lightning_binding.data
import lightning_binding.rin.bit_objectives
import lightning_binding.rin.joint_diffusion
import lightning_binding.rin.video  # noqa: F401
from lightning_binding import export
from lightning_binding.carml import commands as carml
from lightning_binding.cli.lookup import suggest
from lightning_binding.cli.parser import NAME, run_function, summary
from lightning_binding.cli.runs import quieten
from lightning_binding.cli.stages import STAGES, BindingCLI
from lightning_binding.crw import commands as crw
from lightning_binding.data.shards import commands as shards
from lightning_binding.errors import InputError
from lightning_binding.rin import commands as rin

COMMANDS: dict[str, Callable[..., Any]] = {
    "sample": rin.sample,
    "propagate": crw.propagate,
    "play": carml.play,
    "shard": shards.shard,
    "export": export.export,
}


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
    quieten()
    try:
        command = _command(args)
        if command in COMMANDS:
            return run_function(command, COMMANDS[command], args[1:])
        cli = BindingCLI(command, args[1:])
        cli.run()
        return cli
    except Exception as error:
        wrong = _input_error(error)
        if wrong is None:
            raise
        print(f"{NAME}: error: {' '.join(str(wrong).split())}", file=sys.stderr)
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
    about = {**STAGES, **{name: summary(function) for name, function in COMMANDS.items()}}
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
