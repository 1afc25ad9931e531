"""Looking at configuration files before they are parsed, so that a message names the file and the line."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from lightning_binding.cli.lookup import nearest_files, suggest
from lightning_binding.errors import InputError
from lightning_binding.limits import MOST_DEPTH, MOST_NODES, read_text

CLASS_KEYS = ("class_path", "init_args", "dict_kwargs")


def check_configs(args: Sequence[str]) -> list[str]:
    """Checks the files that follow `--config`: that they exist, are YAML, and have no key twice.

    Returns:
        The files.

    Raises:
        InputError: If they do not; it names the file, the line and the key.
    """
    # What is not a name is the content itself.
    files = [name for name in config_files(args) if not name.lstrip().startswith("{") and "\n" not in name]
    for name in files:
        check_config(Path(name).expanduser())
    return files


def without_method(complaint: str, files: Sequence[str], stage: str) -> str:
    """A sentence for a complaint that model or data are missing, where no file has them: a trainer's alone, say.

    Args:
        complaint: What the parser says.
        files: The files that were given.
        stage: The command.
    """
    if not files or not complaint.startswith("missing: --") or any(_has_class(Path(name)) for name in files):
        return ""
    has, goes = ("has", "goes") if len(files) == 1 else ("have", "go")
    return (
        f" {' and '.join(files)} {has} no method and no data, and {goes} beside a configuration that has: "
        f"lightning-binding {stage} --config configs/quickstart.yaml {' '.join(f'--config {name}' for name in files)}"
    )


def _has_class(path: Path) -> bool:
    """Whether a file says which class the model or the data are of."""
    root = yaml.safe_load(read_text(path.expanduser()))
    parts = [root.get(name) for name in ("model", "data")] if isinstance(root, dict) else [None]
    return any(isinstance(part, str) or (isinstance(part, dict) and "class_path" in part) for part in parts)


def config_files(args: Sequence[str]) -> Iterator[str]:
    """The values of `--config` and `-c` among the arguments."""
    for index, arg in enumerate(args):
        flag, equals, value = arg.partition("=")
        if flag in ("--config", "-c"):
            if equals:
                yield value
            elif index + 1 < len(args):
                yield args[index + 1]


def check_config(path: Path) -> None:
    """Checks one file.

    Raises:
        InputError: If it is missing, is not a YAML mapping, or has a misplaced key.
    """
    if not path.is_file():
        raise InputError(f"--config: there is no file {path}{nearest_files(path, '*.y*ml')}")
    try:
        root = yaml.compose(read_text(path), yaml.SafeLoader)
    except RecursionError:
        raise InputError(f"{path} is nested too deep; a configuration has at most {MOST_DEPTH} levels.") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise InputError(f"{path}{where}: this is not YAML: {error.problem or error.context}.") from error
    except yaml.YAMLError as error:
        raise InputError(f"{path}: this is not YAML: {error}.") from error
    if root is not None and not isinstance(root, MappingNode):
        raise InputError(f"{path}: expected keys with values (`trainer: …`), got {_text(root)!r}.")
    if root is not None:
        _measure(root, path)
        _check_mapping(root, path, "")


def _measure(root: Node, path: Path) -> None:
    """Raises an `InputError` for anchors that repeat without end or too often, before anything walks through them."""
    waiting, count = [(root, 1)], 0
    while waiting:
        node, depth = waiting.pop()
        count += 1
        if depth > MOST_DEPTH:
            raise InputError(f"{path} is nested too deep; a configuration has at most {MOST_DEPTH} levels.")
        if count + len(waiting) > MOST_NODES:
            raise InputError(f"{path} has more than {MOST_NODES} values, what its anchors repeat counted each time.")
        if isinstance(node, MappingNode):
            waiting += [(each, depth + 1) for pair in node.value for each in pair]
        elif isinstance(node, SequenceNode):
            waiting += [(each, depth + 1) for each in node.value]


def _check_mapping(node: MappingNode, path: Path, prefix: str) -> None:
    names: dict[str, Any] = {}
    for key, value in node.value:
        name, where = str(key.value), f"{path}, line {key.start_mark.line + 1}"
        if name in names and name != "<<":
            raise InputError(f"{where}: {prefix}{name} stands here a second time; the first would be lost.")
        names[name] = where
        _check(value, path, f"{prefix}{name}.")
    if "class_path" in names and not prefix.startswith("vars."):
        for name, where in names.items():
            if name.rstrip("+") not in CLASS_KEYS:
                raise InputError(
                    f"{where}: {prefix}{name} stands beside class_path, where only init_args and dict_kwargs may"
                    f"{suggest(name, CLASS_KEYS[1:], '')} Arguments of the class belong under init_args."
                )


def _check(node: Node, path: Path, prefix: str) -> None:
    if isinstance(node, MappingNode):
        _check_mapping(node, path, prefix)
    elif isinstance(node, SequenceNode):
        for item in node.value:
            _check(item, path, prefix)


def _text(node: Node) -> str:
    return str(node.value) if isinstance(node, ScalarNode) else "a list"
