"""What setup.cfg allows, and the two files of versions beside it, say the same."""

from configparser import ConfigParser
from itertools import chain
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[1]


def requirements(text: str) -> list[Requirement]:
    """The requirements of an option of setup.cfg, or of a file of constraints."""
    lines = (line.strip() for line in text.splitlines())
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


def versions(file: str) -> dict[str, Version]:
    """The versions that a file of constraints pins, by normalised name."""
    pins = requirements((ROOT / file).read_text())
    assert all([each.operator for each in pin.specifier] == ["=="] for pin in pins)
    return {canonicalize_name(pin.name): Version(next(iter(pin.specifier)).version) for pin in pins}


SETUP = ConfigParser()
SETUP.read(ROOT / "setup.cfg")
EXTRAS = {extra: requirements(text) for extra, text in SETUP["options.extras_require"].items()}
CORE = requirements(SETUP["options"]["install_requires"])
ALL = [each for each in [*CORE, *chain.from_iterable(EXTRAS.values())] if each.name != "lightning-binding"]


@pytest.mark.parametrize("name", sorted({canonicalize_name(each.name) for each in [*CORE, *EXTRAS["test"]]}))
def test_the_lowest_versions_are_the_bounds(name: str) -> None:
    pinned = versions("constraints-min.txt")[name]
    for each in ALL:
        if canonicalize_name(each.name) == name:
            lowest = [Version(one.version) for one in each.specifier if one.operator == ">="]
            assert lowest == [pinned]


def test_the_lowest_versions_are_allowed() -> None:
    pinned = versions("constraints-min.txt")
    assert pinned.keys() <= {canonicalize_name(each.name) for each in ALL}
    for each in ALL:
        assert canonicalize_name(each.name) not in pinned or pinned[canonicalize_name(each.name)] in each.specifier


def test_the_tested_versions_are_allowed() -> None:
    pinned = versions("constraints.txt")
    for each in [*CORE, *EXTRAS["test"], *EXTRAS["lint"], *EXTRAS["notebooks"]]:
        assert pinned[canonicalize_name(each.name)] in each.specifier, each


def test_torch_has_no_upper_bound() -> None:
    (torch,) = (each for each in CORE if each.name == "torch")
    assert [each.operator for each in torch.specifier] == [">="]
