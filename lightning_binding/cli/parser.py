"""The parser of one command, and the commands that are plain functions."""

import functools
import operator
from collections.abc import Callable, Sequence
from typing import Any, NoReturn, get_args

from docstring_parser import parse as parse_docstring
from jsonargparse import Namespace
from lightning.pytorch.cli import LightningArgumentParser

from lightning_binding.cli.configs import check_configs
from lightning_binding.cli.errors import condense
from lightning_binding.errors import InputError

NAME = "lightning-binding"


class Parser(LightningArgumentParser):
    """A parser whose complaints are one line, and which takes whole option names only."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"allow_abbrev": False, **kwargs})

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Raises the complaint as an `InputError`; parsers inside of jsonargparse keep their own errors."""
        if not self.exit_on_error:
            super().error(message, ex)
        raise InputError(condense(message, self)) from ex


def whole_numbers_first(parser: LightningArgumentParser) -> None:
    """Lets arguments that take an int or a float try the int first: `limit_val_batches: 1` is one batch, 1.0 is all.

    `typing` keeps one `Union` for both orders, that of whoever wrote it first; in the Trainer's the float comes first.
    """
    for action in parser._actions:
        types = get_args(getattr(action, "_typehint", None))
        if {int, float} <= set(types):
            rest = [each for each in types if each not in (int, float)]
            action._typehint = functools.reduce(operator.or_, [int, float, *rest])  # type: ignore[attr-defined]


def run_function(name: str, function: Callable[..., Any], args: Sequence[str]) -> Any:
    """Calls a function with its arguments from the command line.

    Args:
        name: The command.
        function: Its annotated signature becomes the options, its docstring their help.
        args: The options that follow the command.
    """
    parser = Parser(prog=f"{NAME} {name}", description=summary(function), parser_mode="yaml")
    parser.add_argument("-c", "--config", action="config", help="File with these options, in YAML.")
    parser.add_function_arguments(function, fail_untyped=True)
    check_configs(args)
    options: Namespace = parser.instantiate(parser.parse_args(list(args)))
    options.pop("config", None)
    return function(**options.as_dict())


def summary(function: Callable[..., Any]) -> str:
    """The first sentence of a function's docstring."""
    return parse_docstring(function.__doc__ or "").short_description or ""
