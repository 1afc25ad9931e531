"""Hyper-parameters as plain data, so that a checkpoint is safe to read and knows how it was made.

Under the command line Lightning saves the configuration itself. A module built in Python is described the same way: an
object whose class keeps each constructor argument under the argument's name becomes `{class_path, init_args}`.
"""

import inspect
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn


class Undescribed(Exception):
    """The value has no plain description."""


def plain(value: Any) -> Any:
    """The value as numbers, strings, lists and mappings.

    Raises:
        Undescribed: If there is no such description: networks with weights, functions, classes.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, type | partial) or inspect.isroutine(value):
        raise Undescribed
    if isinstance(value, nn.Module) and next(value.parameters(), None) is not None:
        raise Undescribed  # weights are no plain data
    has_arguments = type(value).__init__ is not object.__init__
    names = list(inspect.signature(type(value)).parameters) if has_arguments else []
    if not all(hasattr(value, name) for name in names):
        raise Undescribed
    path = f"{type(value).__module__}.{type(value).__qualname__}"
    return {"class_path": path, "init_args": {name: plain(getattr(value, name)) for name in names}}


def plain_arguments(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments that have a plain description; the others are left out."""
    described: dict[str, Any] = {}
    for name, value in arguments.items():
        try:
            described[name] = plain(value)
        except Undescribed:
            continue
    return described
