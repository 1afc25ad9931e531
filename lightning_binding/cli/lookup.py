"""Valid names: the classes that a type allows, the arguments that a class has, the files that a folder holds."""

import importlib
import inspect
import re
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from itertools import islice
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser

from lightning_binding.names import did_you_mean

_LISTED = 15  # longer lists of names are left to --help
_FILES = 5000  # more are not looked through


def suggest(name: str, known: Iterable[str], where: str = "") -> str:
    """The nearest valid names; where none is near, all if they are few, else where they are listed.

    Args:
        name: The unknown name.
        known: Valid names.
        where: Command that lists them.
    """
    known = sorted(set(known))
    text = did_you_mean(name, known)
    if text.startswith("; known") and len(known) > _LISTED:
        return f"; `{where}` lists what there is." if where else "."
    return text if text.endswith((".", "?")) else f"{text}."


def classes_in(types: str) -> Iterator[type]:
    """The classes that a description of types names, without builtins."""
    types = re.sub(r"Callable\[\[[^\]]*\], ", "[", types)  # what it returns
    for module, name in re.findall(r"((?:[a-z_]\w*\.)+)([A-Z]\w*)", types):
        if not module.startswith(("typing.", "collections.")):
            found = import_path(f"{module}{name}")
            if isinstance(found, type):
                yield found


def all_subclasses(bases: Iterable[type]) -> list[type]:
    """The classes and their imported subclasses."""
    return [found for base in bases for found in (base, *all_subclasses(base.__subclasses__()))]


def usable(base: type) -> Iterator[tuple[str, str]]:
    """Names and paths of the subclasses that can be used."""
    for found in all_subclasses([base]):
        if not found.__name__.startswith("_") and not inspect.isabstract(found):
            yield found.__name__, f"{found.__module__}.{found.__qualname__}"


def arguments_of(path: str) -> list[str]:
    """The arguments of a class, those that it passes on included."""
    parser = ArgumentParser(exit_on_error=False)
    found = import_path(path)
    if not isinstance(found, type):
        return []
    parser.add_class_arguments(found, fail_untyped=False)
    return [key.split(".")[0] for key in parser.get_defaults(skip_validation=True).keys()]  # noqa: SIM118  (no mapping)


def import_path(path: str) -> Any:
    """The object of a dotted path, None if there is none."""
    module, _, name = path.rpartition(".")
    try:
        return getattr(importlib.import_module(module), name, None)
    except ImportError:
        return None


def nearest_files(path: Path, pattern: str) -> str:
    """A clause that names the files most like a missing one.

    Args:
        path: The missing file.
        pattern: Glob pattern of the files that could have been meant: in its folder, or, where there is no such
            folder, up to two folders below here.
    """
    patterns = [pattern] if path.parent.is_dir() else [pattern, f"*/{pattern}", f"*/*/{pattern}"]
    folder = path.parent if path.parent.is_dir() else Path()
    found = [str(file) for each in patterns for file in islice(folder.glob(each), _FILES)]
    close = get_close_matches(str(path), found, cutoff=0.6)
    return f"; did you mean {' or '.join(close)}?" if close else "."
