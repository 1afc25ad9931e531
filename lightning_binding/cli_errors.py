"""Complaints of the parser as one line: which key, what was given, what was expected, the nearest valid names.

jsonargparse describes a wrong value as an indented tree, with a branch for every type that was tried. The branch that
says most is found, with the keys and classes on the way to it.
"""

import importlib
import inspect
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from lightning_binding.names import did_you_mean

_KEY = re.compile(r'Parser key "([^"]+)"|^(\S+)\.help(?=:)')
_CLASS = re.compile(r"Problem with given class_path '([^']+)'|class_path='([^']+)'")
_CALLABLE = re.compile(r"Type (\S.*) expects a function or a callable class")
_SUBTYPES = re.compile(r"Subtypes: \[(.*)\]$")
_GIVEN = re.compile(r"(?:Given value|Got value): (.*?)(?:\. Got value: .*)?$")
_FLAG = re.compile(r"unrecognized arguments: ([^\s=]+)")
_GROUP = re.compile(r"Group '([^']+)' does not accept option '([^']+)'")
_OPTION = re.compile(r"Option '([^']+)' is not accepted")
_ATTRIBUTE = re.compile(r"module '([^']+)' has no attribute '([^']+)'")
_IMPORT = re.compile(r"No module named '([^']+)'|Expected a dot import path string: (\S+)")
_NOT_SUBCLASS = re.compile(r"Import path (?:(\S+) )?does not correspond to a subclass")
_MISSING = re.compile(r"arguments are required: (.*?)(?:\. Got value.*)?$")
_EXPECTED = re.compile(r"(?:Expected an? (?!path |<class 'NoneType'>)|Not a valid subclass of )(\S.*)")
_LISTED = 15  # longer lists of names are left to --help


def one_line(text: str) -> str:
    """The text with its lines joined."""
    return " ".join(text.split())


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


def condense(message: str, parser: ArgumentParser) -> str:
    """One line for a complaint of a parser.

    Args:
        message: jsonargparse's text.
        parser: The parser that complains; it knows the valid options.
    """
    branches = _branches(message)
    for explain in (_unknown_option, _unknown_argument, _unknown_class, _missing, _wrong_type):
        for branch in sorted(branches, key=lambda branch: -len(branch.keys)):
            if line := explain(branch, parser):
                return line
    return one_line(message)


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


@dataclass
class _Branch:
    """A line of the tree, with what stands above it."""

    indent: int
    text: str
    keys: list[str] = field(default_factory=list)
    classes: list[str] = field(default_factory=list)
    types: str = ""  # those that were tried
    given: str = ""

    @property
    def key(self) -> str:
        """The key in YAML."""
        return ".init_args.".join(self.keys)


def _branches(message: str) -> list[_Branch]:
    path, found = [_Branch(-1, "")], list[_Branch]()
    for line in message.splitlines():
        text = line.lstrip(" -")
        if not text:
            continue
        indent = len(line) - len(text)
        while len(path) > 1 and path[-1].indent >= indent:
            path.pop()
        above = path[-1]
        given = match[1] if (match := _GIVEN.search(text)) else ""
        if text.startswith("Given value:"):
            for branch in found:
                branch.given = branch.given or (given if branch.indent > indent else "")
        if match := _SUBTYPES.search(text):
            above.types = match[1]
        keys, classes = ([first or second for first, second in token.findall(text)] for token in (_KEY, _CLASS))
        types = "" if keys else match[1] if (match := _CALLABLE.search(text)) else above.types
        path.append(_Branch(indent, text, above.keys + keys, above.classes + classes, types, given))
        found.append(path[-1])
    return found


def _unknown_option(branch: _Branch, parser: ArgumentParser) -> str | None:
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
    return f"{name} is not an option{suggest(name, known, f'{parser.prog} --help')}"


def _unknown_argument(branch: _Branch, parser: ArgumentParser) -> str | None:
    """An argument that a class does not have."""
    match = _OPTION.search(branch.text)
    if not match or not branch.classes:
        return None
    path, name = branch.classes[-1], match[1]
    where = f"{parser.prog} --{branch.keys[0]}.help {path}" if branch.keys else ""
    owner = path.rpartition(".")[2]
    return f"{branch.key}.init_args.{name}: {owner} has no argument {name!r}{suggest(name, _arguments(path), where)}"


def _unknown_class(branch: _Branch, parser: ArgumentParser) -> str | None:
    """A class that is not there, or not of the kind that is wanted."""
    attribute, missing = _ATTRIBUTE.search(branch.text), _IMPORT.search(branch.text)
    other = _NOT_SUBCLASS.search(branch.text)
    if not (attribute or missing or other):
        return None
    bases = list(_classes(branch.types or _type_of(branch, parser)))
    known = {name: path for base in bases for name, path in _subclasses(base)}
    wanted = " or ".join(dict.fromkeys(base.__name__ for base in bases)) or "class"
    if attribute:
        module = importlib.import_module(attribute[1])
        inside = [name for name, value in vars(module).items() if value in _all_subclasses(bases)]
        return f"{branch.key}: {attribute[1]} has no {attribute[2]!r}{suggest(attribute[2], inside or known)}"
    if other:
        name = other[1] or branch.given
        return f"{branch.key}: {name} is not a {wanted}{suggest(name.rpartition('.')[2], known)}"
    assert missing
    name = missing[1] or missing[2]
    name = next((path for path in reversed(branch.classes) if path.startswith(name)), name)
    return f"{branch.key}: there is no {wanted} {name!r}{suggest(name, known.values() if '.' in name else known)}"


def _missing(branch: _Branch, parser: ArgumentParser) -> str | None:
    """Arguments without a default that were not given."""
    match = _MISSING.search(branch.text)
    if not match:
        return None
    if not branch.keys:
        return f"missing: --{match[1].replace(', ', ', --')}; give it as an option or in a --config file."
    path = next(iter(re.findall(r"class_path='([^']+)'", branch.given)), (branch.classes or ["the class"])[-1])
    return f"{branch.key}: {path.rpartition('.')[2]} needs {match[1]}."


def _wrong_type(branch: _Branch, parser: ArgumentParser) -> str | None:
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


def _classes(types: str) -> Iterator[type]:
    """The classes that a description of types names, without builtins."""
    types = re.sub(r"Callable\[\[[^\]]*\], ", "[", types)  # what it returns
    for module, name in re.findall(r"((?:[a-z_]\w*\.)+)([A-Z]\w*)", types):
        if not module.startswith(("typing.", "collections.")):
            found = _import(f"{module}{name}")
            if isinstance(found, type):
                yield found


def _all_subclasses(bases: Iterable[type]) -> list[type]:
    """The classes and their imported subclasses."""
    return [found for base in bases for found in (base, *_all_subclasses(base.__subclasses__()))]


def _subclasses(base: type) -> Iterator[tuple[str, str]]:
    """Names and paths of the subclasses that can be used."""
    for found in _all_subclasses([base]):
        if not found.__name__.startswith("_") and not inspect.isabstract(found):
            yield found.__name__, f"{found.__module__}.{found.__qualname__}"


def _type_of(branch: _Branch, parser: ArgumentParser) -> str:
    """The type of the branch's key, as its class or the parser declares it."""
    owner = _import(branch.classes[-1]) if branch.classes else None
    if owner is not None:
        parameter = inspect.signature(owner).parameters.get(branch.keys[-1])
        return str(parameter.annotation) if parameter else ""
    key = branch.keys[0] if branch.keys else ""
    return next((str(getattr(action, "_typehint", "")) for action in parser._actions if action.dest == key), "")


def _arguments(path: str) -> list[str]:
    """The arguments of a class, those that it passes on included."""
    parser = ArgumentParser(exit_on_error=False)
    found = _import(path)
    if not isinstance(found, type):
        return []
    parser.add_class_arguments(found, fail_untyped=False)
    return [key.split(".")[0] for key in parser.get_defaults(skip_validation=True).keys()]


def _import(path: str) -> Any:
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
        pattern: Glob pattern of the files in its folder, or below here, that could have been meant.
    """
    folder = path.parent if path.parent.is_dir() else Path()
    found = {file.name: str(file) for file in folder.rglob(pattern)} if folder != Path() else {}
    found = found or {file.name: str(file) for file in folder.glob(pattern)}
    text = did_you_mean(path.name, found)
    close = [found[name] for name in re.findall(r"[\w.-]+", text) if name in found]
    return f"; did you mean {' or '.join(close)}?" if close and "did you mean" in text else "."
