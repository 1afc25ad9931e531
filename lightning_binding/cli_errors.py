"""Complaints of the parser as one line: which key, what was given, what was expected, the nearest valid names.

jsonargparse describes a wrong value as a tree, indented, with a branch for every type that was tried. Here the branch
that went deepest is found, and the keys and classes on the way to it.
"""

import importlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from jsonargparse import ArgumentParser
from omegaconf.errors import OmegaConfBaseException

from lightning_binding.names import did_you_mean

_KEY = re.compile(r'Parser key "([^"]+)"')
_CLASS = re.compile(r"Problem with given class_path '([^']+)'")
_CALLABLE = re.compile(r"Type (\S.*) expects a function or a callable class")
_SUBTYPES = re.compile(r"^Subtypes: \[(.*)\]$")
_GIVEN = re.compile(r"(?:Given value|Got value): (.*)$")
_MOST = 15  # longer lists of names are left to --help


def one_line(text: str) -> str:
    """The text with its lines joined."""
    return " ".join(text.split())


def suggest(name: str, known: Iterable[str], where: str = "") -> str:
    """The nearest valid names, or all if they are few, or where they are listed.

    Args:
        name: The unknown name.
        known: Valid names.
        where: Command that lists them.
    """
    known = list(known)
    text = did_you_mean(name, known)
    if text.startswith("; known") and len(known) > _MOST:
        return f"; see {where}." if where else "."
    return text


@dataclass
class _Branch:
    """A line of the tree with what stands above it."""

    indent: int
    text: str
    keys: list[str] = field(default_factory=list)
    classes: list[str] = field(default_factory=list)
    types: str = ""
    given: str = ""

    @property
    def key(self) -> str:
        return ".init_args.".join(self.keys)


def _branches(message: str) -> list[_Branch]:
    """Every line of the tree, with the keys, classes and types on the way to it."""
    path: list[_Branch] = [_Branch(-1, "")]
    found: list[_Branch] = []
    for line in message.splitlines():
        text = line.lstrip(" -")
        if not text:
            continue
        indent = len(line) - len(text)
        while len(path) > 1 and path[-1].indent >= indent:
            path.pop()
        above = path[-1]
        if match := _SUBTYPES.match(text):
            above.types = match[1]
            continue
        if match := _GIVEN.search(text):
            for branch in found:
                if branch.indent >= indent and not branch.given:
                    branch.given = match[1]
        types = match[1] if (match := _CALLABLE.search(text)) else above.types
        branch = _Branch(
            indent,
            text,
            above.keys + _KEY.findall(text),
            above.classes + _CLASS.findall(text) + re.findall(r"Namespace\(class_path='([^']+)'", text),
            types,
            match[1] if (match := _GIVEN.search(text)) else "",
        )
        path.append(branch)
        found.append(branch)
    return found
