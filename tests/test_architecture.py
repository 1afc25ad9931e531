"""The house: imports go down, mathematics stands alone, constructors are documented, files are short."""

import ast
import importlib
import inspect
import pkgutil
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from docstring_parser import parse

import lightning_binding
from lightning_binding.cli import COMMANDS

ROOT = Path(lightning_binding.__file__).parent
MODULES = sorted(module.name for module in pkgutil.walk_packages([str(ROOT)], "lightning_binding."))
# Rooms, from the top floor down; a file that is not in a room is on the ground floor, 0.
FLOORS = {
    "cli": 4,
    "__main__": 5,
    "callbacks": 3,
    "rin": 2,
    "crw": 2,
    "carml": 2,
    "data": 2,
    "backbones": 1,
    "metrics": 1,
}
MATHEMATICS = ("schedules", "objectives", "samplers", "few_step", "trajectory", "levels", "guidance", "bits")
MATHEMATICS += ("mixture", "covariance", "em", "matching", "selection", "scaffold", "reward")
# The ground floor's one look upwards: the package registers its models with timm when it is imported.
REGISTRATION = {("lightning_binding", "backbones"), ("lightning_binding", "rin")}


def source(name: str) -> Path:
    """The file of a module."""
    path = ROOT.joinpath(*name.split(".")[1:])
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def imports(name: str) -> Iterator[str]:
    """What a module imports, anywhere in its file."""
    for node in ast.walk(ast.parse(source(name).read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def room(name: str) -> str:
    """The first part of a module's name inside the package, if it is a room."""
    parts = name.split(".")
    return parts[1] if len(parts) > 1 and parts[1] in FLOORS else ""


@pytest.mark.parametrize("name", ["lightning_binding", *MODULES])
def test_imports_only_go_down(name: str) -> None:
    here = room(name)
    for imported in imports(name):
        there = room(imported)
        if imported.startswith("lightning_binding") and there != here and (name, there) not in REGISTRATION:
            assert FLOORS.get(there, 0) < FLOORS.get(here, 0), f"{name} imports {imported}, which is not below it"


@pytest.mark.parametrize("name", [name for name in MODULES if name.endswith(tuple(f".{part}" for part in MATHEMATICS))])
def test_mathematics_needs_torch_and_einops_only(name: str) -> None:
    packages = {imported.split(".")[0] for imported in imports(name)} - set(sys.stdlib_module_names)
    assert packages <= {"torch", "einops", "lightning_binding"}


@pytest.mark.parametrize("name", [name for name in MODULES if not name.endswith("__main__")])
def test_every_constructor_argument_is_documented(name: str) -> None:
    module = importlib.import_module(name)
    for class_name, found in vars(module).items():
        if not inspect.isclass(found) or found.__module__ != name or class_name.startswith("_"):
            continue
        if "__init__" not in vars(found) or "__dataclass_fields__" in vars(found) or issubclass(found, Exception):
            continue
        texts = f"{found.__doc__ or ''}", f"{found.__init__.__doc__ or ''}"
        documented = {parameter.arg_name.lstrip("*") for text in texts for parameter in parse(text).params}
        parameters = list(inspect.signature(found.__init__).parameters.values())[1:]
        arguments = {each.name for each in parameters if each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)}
        assert arguments <= documented, f"{name}.{class_name} does not explain {arguments - documented}"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_argument_of_a_command_is_documented(name: str) -> None:
    documented = {parameter.arg_name for parameter in parse(COMMANDS[name].__doc__ or "").params}
    assert set(inspect.signature(COMMANDS[name]).parameters) == documented


def test_files_are_short() -> None:
    lengths = {name: len(source(name).read_text().splitlines()) for name in MODULES}
    assert {name: length for name, length in lengths.items() if length > 400} == {}
    assert statistics.median(length for length in lengths.values() if length > 10) <= 150


def test_every_public_module_class_and_function_has_a_docstring() -> None:
    missing = []
    for name in MODULES:
        tree = ast.parse(source(name).read_text())
        nodes = [node for node in tree.body if isinstance(node, ast.ClassDef | ast.FunctionDef)]
        missing += [
            f"{name}.{node.name}" for node in nodes if not node.name.startswith("_") and not ast.get_docstring(node)
        ]
        if tree.body and not ast.get_docstring(tree):
            missing.append(name)
    assert missing == []
