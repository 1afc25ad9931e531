"""Mutated files: each is read, or refused by an `InputError`, in time. `tox -e fuzz` tries many more."""

import os
import random
from pathlib import Path

import pytest
from fuzz.targets import DEADLINE, Target, deadline, failure, mutate, targets
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_binding import InputError
from lightning_binding.cli.configs import check_config

NAMES = (
    "config",
    "options",
    "joints",
    "cifar_python",
    "cifar_binary",
    "mask",
    "points",
    "safetensors",
    "export",
    "checkpoint",
    "statistics",
    "chunk",
    "shard_index",
    "video",
)


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Target]:
    return targets(tmp_path_factory.mktemp("seeds"))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", NAMES)
def test_mutated_files_are_read_or_refused(found: dict[str, Target], name: str, tmp_path: Path) -> None:
    target, draw = found[name], random.Random(name)
    path = tmp_path / f"input{target.ending}"
    for seed in target.seeds:  # whole files are read; nobody has the class that the exported one names
        path.write_bytes(seed)
        if name != "export":
            target.read(path)
    for _ in range({"video": 10, "options": 20}.get(name, 60)):
        path.write_bytes(mutate(draw.choice(target.seeds), draw))
        assert failure(target, path) is None
    assert os.listdir(tmp_path) == [path.name]


VALUES = st.recursive(
    st.none() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
)


@settings(max_examples=100)
@given(st.text(max_size=80) | VALUES.map(str) | st.text("&*a[]{}:,-? \n<!|>'\"", max_size=80))
def test_any_text_is_a_configuration_or_refused(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    assert failure(Target(check_config, ".yaml", []), path) is None


def test_what_fails_is_seen(tmp_path: Path) -> None:
    def hang(path: Path) -> None:
        while True:
            pass

    def crash(path: Path) -> None:
        raise KeyError("sum")

    def refuse(path: Path) -> None:
        raise InputError("no")

    assert DEADLINE < 60
    assert failure(Target(crash, "", []), tmp_path) == "KeyError: 'sum'"
    assert failure(Target(refuse, "", []), tmp_path) is None
    with pytest.raises(TimeoutError), deadline(1):
        hang(tmp_path)
