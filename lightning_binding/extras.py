"""Packages that not every user needs: imported when they are used, with a sentence that says how to get them."""

import importlib
from typing import Any

from lightning_binding.errors import InputError


def imported(module: str, extra: str, what: str) -> Any:
    """A module of an optional package.

    Args:
        module: Its name.
        extra: The extra of this package that installs it.
        what: What needs it, the beginning of the sentence that the user is told.

    Raises:
        InputError: If it cannot be imported.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise InputError(
            f"{what} needs the package {module.partition('.')[0]}, which cannot be imported ({error}): "
            f"pip install 'lightning-binding[{extra}]'"
        ) from error
