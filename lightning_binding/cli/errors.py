"""Complaints of the parser as one line: which key, what was given, what was expected, the nearest valid names.

Of the branches that jsonargparse describes, the one that says most is explained.
"""

import importlib
import inspect
import os
import re
from collections.abc import Iterator
from difflib import get_close_matches
from typing import Any

import torch
from jsonargparse import ArgumentParser
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from lightning_binding.cli.lookup import arguments_of, classes_in, import_path, suggest, usable
from lightning_binding.cli.tree import Branch, branches

_FLAG = re.compile(r"unrecognized arguments: ([^\s=]+)")
_GROUP = re.compile(r"Group '([^']+)' does not accept option '([^']+)'")
_OPTION = re.compile(r"Option '([^']+)' is not accepted")
_ATTRIBUTE = re.compile(r"module '([^']+)' has no attribute '([^']+)'")
_IMPORT = re.compile(r"No module named '([^']+)'|Expected a dot import path string: (\S+)")
_NOT_SUBCLASS = re.compile(r"Import path (?:(\S+) )?does not correspond to a subclass")
_TWICE = re.compile(r"Found more than one stateful callback of type `(\w+)`")
_MISSING = re.compile(r"arguments are required: (.*?)(?:\. Got value.*)?$")
_NUMBER = re.compile(r"<class '(int|float)'>")
_EXPECTED = re.compile(r"(?:Expected an? (?!path |<class 'NoneType'>)|Not a valid subclass of )(\S.*)")


def one_line(text: str) -> str:
    """The text with its lines joined."""
    return " ".join(text.split())


def condense(message: str, parser: ArgumentParser) -> str:
    """One line for a complaint of a parser.

    Args:
        message: jsonargparse's text.
        parser: The parser that complains; it knows the valid options.
    """
    lines = branches(message)
    for explain in (_unknown_option, _unknown_argument, _unknown_class, _missing, _wrong_type):
        for branch in sorted(lines, key=lambda branch: -len(branch.keys)):
            if line := explain(branch, parser):
                return line
    return one_line(message)


def of_the_trainer(message: str) -> str:
    """What the Trainer complains of, with what to do where it does not say that itself.

    Args:
        message: Its text.
    """
    if "No supported gpu backend" in message or message.startswith("`CUDAAccelerator` can not run"):
        hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
        reason = f"this torch {torch.__version__} is made without CUDA" if torch.version.cuda is None else ""
        reason = reason or (f"CUDA_VISIBLE_DEVICES={hidden!r} shows none" if hidden in ("", "-1") else "")
        return (
            f"trainer.accelerator is gpu, and there is no GPU that torch can use "
            f"({reason or '`nvidia-smi` tells whether the system has one'}): add --trainer.accelerator cpu "
            "--trainer.precision 32-true --model.compile false, or leave out the file of configs/trainer that asks for "
            "GPUs."
        )
    if match := _TWICE.search(message):
        return (
            f"trainer.callbacks has {match[1]} more than once, and a run can have one"
            f"{', since it has one average' if match[1] == 'EMA' else ''}: leave out what was given the second time "
            f"(--trainer.callbacks+={match[1]} adds to those of the configuration files), and change the arguments of "
            "the first in its file."
        )
    return f"trainer: {message}"


def condense_interpolation(error: OmegaConfBaseException) -> str:
    """One line for an interpolation such as `${data.init_args.image_size}` that leads nowhere."""
    reason = str(error).splitlines()[0]
    match = re.search(r"key '([^']+)' not found", reason)
    if not match or error.parent_node is None:
        return f"{error.full_key}: {reason}."
    known = _keys(OmegaConf.to_container(error.parent_node._get_root(), resolve=False))
    return f"{error.full_key}: there is no {match[1]!r} to take the value from{suggest(match[1], known)}"


def _keys(node: Any, prefix: str = "") -> Iterator[str]:
    """The dotted keys of nested mappings."""
    for name, value in node.items() if isinstance(node, dict) else ():
        yield f"{prefix}{name}"
        yield from _keys(value, f"{prefix}{name}.")


def _unknown_option(branch: Branch, parser: ArgumentParser) -> str | None:
    """An option that the parser itself does not have."""
    if match := _FLAG.search(branch.text):
        if not match[1].startswith("-"):
            return f"unexpected argument {match[1]!r}; options begin with --."
        name = match[1].lstrip("-")
    elif match := _GROUP.search(branch.text):
        name = f"{match[1]}.{match[2]}"
    elif (match := _OPTION.search(branch.text)) and not branch.classes:
        name = match[1]
    else:
        return None
    known = [*parser.get_defaults(skip_validation=True).keys(), "config", "print_config", "help"]
    root, dot, rest = name.partition(".")
    roots = {key.partition(".")[0] for key in known}
    for near in get_close_matches(root, roots, n=1) if root not in roots else ():
        if near in known or near + dot + rest in known:  # `near` itself is one where a class's arguments follow
            return f"{name} is not an option; did you mean {near}{dot}{rest}?"
    return f"{name} is not an option{suggest(name, known, f'{parser.prog} --help')}"


def _unknown_argument(branch: Branch, parser: ArgumentParser) -> str | None:
    """An argument that a class does not have."""
    match = _OPTION.search(branch.text)
    if not match or not branch.classes:
        return None
    path, name = branch.classes[-1], match[1]
    where = f"{parser.prog} --{branch.keys[0]}.help {path}" if branch.keys else ""
    owner = path.rpartition(".")[2]
    return f"{branch.key}.init_args.{name}: {owner} has no argument {name!r}{suggest(name, arguments_of(path), where)}"


def _unknown_class(branch: Branch, parser: ArgumentParser) -> str | None:
    """A class that is not there, or not of the kind that is wanted."""
    attribute, missing = _ATTRIBUTE.search(branch.text), _IMPORT.search(branch.text)
    other = _NOT_SUBCLASS.search(branch.text)
    if not (attribute or missing or other) or (missing and _NUMBER.search(branch.types)):
        return None
    bases = list(classes_in(branch.types or _type_of(branch, parser)))
    known = {name: path for base in bases for name, path in usable(base)}
    wanted = " or ".join(dict.fromkeys(base.__name__ for base in bases)) or "class"
    if attribute:
        module = importlib.import_module(attribute[1])
        inside = [
            name for name, found in vars(module).items() if isinstance(found, type) and issubclass(found, tuple(bases))
        ]
        return f"{branch.key}: {attribute[1]} has no {attribute[2]!r}{suggest(attribute[2], inside or known)}"
    if other:
        name = other[1] or branch.given
        return f"{branch.key}: {name} is not a {wanted}{suggest(name.rpartition('.')[2], known)}"
    assert missing
    name = missing[1] or missing[2]
    name = next((path for path in reversed(branch.classes) if path.startswith(name)), name)
    return f"{branch.key}: there is no {wanted} {name!r}{suggest(name, known.values() if '.' in name else known)}"


def _missing(branch: Branch, parser: ArgumentParser) -> str | None:
    """Arguments without a default that were not given."""
    match = _MISSING.search(branch.text)
    if not match:
        return None
    if not branch.keys:
        return f"missing: --{match[1].replace(', ', ', --')}; give it as an option or in a --config file."
    path = next(iter(re.findall(r"class_path='([^']+)'", branch.given)), (branch.classes or ["the class"])[-1])
    return f"{branch.key}: {path.rpartition('.')[2]} needs {match[1]}."


def _wrong_type(branch: Branch, parser: ArgumentParser) -> str | None:
    """A value of a wrong type."""
    match = _EXPECTED.match(branch.text)
    if not match or not branch.keys:
        return None
    alone = ". Got value" in branch.text or not branch.types  # not one of several types that were tried
    expected = _readable(match[1].split(". Got value")[0] if alone else branch.types)
    return f"{branch.key}: got {branch.given!r}, expected {expected}."


def _readable(types: str) -> str:
    """Types as a user would name them."""
    types = re.sub(r"<class '([^']+)'>", r"\1", types).replace("typing.", "").replace("NoneType", "null")
    types = re.sub(r"Literal\[([^\]]*)\]", r"\1", types)
    types = re.sub(r"(?:\w+\.)+(\w+)", r"\1", types)  # without modules
    *most, last = dict.fromkeys(re.split(r", (?![^\[]*\])", types.replace("'", "")))
    return f"{', '.join(most)} or {last}" if most else last


def _type_of(branch: Branch, parser: ArgumentParser) -> str:
    """The type of the branch's key, as its class or the parser declares it."""
    owner = import_path(branch.classes[-1]) if branch.classes else None
    if owner is not None:
        parameter = inspect.signature(owner).parameters.get(branch.keys[-1])
        return str(parameter.annotation) if parameter else ""
    key = branch.keys[0] if branch.keys else ""
    return next((str(getattr(action, "_typehint", "")) for action in parser._actions if action.dest == key), "")
