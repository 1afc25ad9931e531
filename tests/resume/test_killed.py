"""`kill -9` at any moment, then the same command: the run ends as one that was never killed, to the last bit."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from data.shards.pictures import write_pictures, write_shards
from resume.killer import kill_until_done, run

ROOT = Path(__file__).parents[2]
RECIPES = {
    "rin": ["quickstart.yaml", "rin.yaml"],
    "crw": ["crw/quickstart.yaml", "crw.yaml"],
    "carml": ["carml/quickstart.yaml", "carml.yaml"],
    "shards": ["quickstart.yaml", "rin.yaml", "shards.yaml"],
}
FEWER = ["--trainer.max_steps=30", "--trainer.val_check_interval=17"]
SHORT = {"rin": [*FEWER, "--data.vendors=[twitter]"], "crw": FEWER, "shards": FEWER}
"""Options of the runs that are killed a few times: still beyond an epoch's end."""
TIMED = ("seconds", "_per_second", "time")  # columns that measure the machine


def differences(one: Any, other: Any, path: str = "") -> list[str]:
    """Where two structures of plain data and tensors differ in any bit."""
    if isinstance(one, torch.Tensor):
        same = isinstance(other, torch.Tensor) and one.dtype == other.dtype and torch.equal(one, other)
        return [] if same else [path]
    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        return [found for key in one for found in differences(one[key], other[key], f"{path}.{key}")]
    if isinstance(one, list | tuple) and isinstance(other, list | tuple) and len(one) == len(other):
        return [
            found for i, (a, b) in enumerate(zip(one, other, strict=True)) for found in differences(a, b, f"{path}.{i}")
        ]
    return [] if type(one) is type(other) and (one == other or (one != one and other != other)) else [path]


def last(folder: Path) -> dict[str, Any]:
    """The newest checkpoint, without what names the folder or the clock."""
    files = sorted((folder / "checkpoints").glob("*.ckpt"), key=lambda file: file.stat().st_mtime)
    checkpoint: dict[str, Any] = torch.load(files[-1], weights_only=True)
    callbacks = checkpoint["callbacks"]
    for measured in checkpoint.get("measured", []):
        measured["about"] = {name: value for name, value in measured["about"].items() if "time" not in name}
    checkpoint["callbacks"] = {name: state for name, state in callbacks.items() if "Checkpoint" not in name}
    return checkpoint


def log(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open() as file:
        return [{k: v for k, v in row.items() if not any(word in k for word in TIMED)} for row in csv.DictReader(file)]


@pytest.fixture(scope="session")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """36 pictures in nine shards."""
    root = tmp_path_factory.mktemp("killed")
    write_shards(write_pictures(root / "source"), root / "shards")
    return root / "shards"


def check(
    name: str, folder: Path, shards: Path, kills: int, seed: int, options: Sequence[str] = (), ranks: int = 1
) -> list[str]:
    """Compares the two runs; what killed the one."""
    base, *parts = RECIPES[name]
    paths = [ROOT / "configs" / base, *(Path(__file__).parent / part for part in parts)]
    command = ["fit", *(word for path in paths for word in ("--config", str(path))), "--resume", "auto", *options]
    if name == "shards":
        largest = max(path.stat().st_size for path in shards.rglob("*.bin"))
        reading = f"--data.reading.cache={folder / 'cache'}", f"--data.reading.cache_gb={4 * largest / 2**30}"
        command += [f"--data.root={shards}", *reading]
    assert run(command, folder / "whole", None, 0, ranks)
    killed = kill_until_done(command, folder / "killed", kills, seed, ranks)
    assert len(killed) >= kills - 2, killed  # a run may be faster than its death
    assert differences(last(folder / "whole"), last(folder / "killed")) == []
    assert log(folder / "whole") == log(folder / "killed")
    assert len(list((folder / "killed" / "checkpoints").iterdir())) <= 2
    return killed


@pytest.mark.parametrize(
    ("name", "seed"), [("rin", 2), ("crw", 3), ("carml", 4), pytest.param("shards", 1, marks=pytest.mark.long)]
)
def test_killed_run_ends_as_one_that_was_not(name: str, seed: int, tmp_path: Path, shards: Path) -> None:
    """Three deaths each, of kinds that begin with that of the seed: each method dies while it writes a checkpoint."""
    killed = check(name, tmp_path, shards, kills=3, seed=seed, options=SHORT.get(name, ()))
    assert "write" in killed or name == "shards"


@pytest.mark.long
@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("name", ["rin", "crw", "carml"])
def test_two_ranks_of_which_one_is_killed(name: str, seed: int, tmp_path: Path, shards: Path) -> None:
    watch = ["--trainer.callbacks+=RankWatch", "--trainer.callbacks.timeout=60"]
    options = [*SHORT.get(name, ()), "--trainer.devices=2", "--trainer.strategy=ddp", *watch]
    check(name, tmp_path, shards, kills=6, seed=seed, options=options, ranks=2)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", RECIPES)
def test_killed_many_times(name: str, seed: int, tmp_path: Path, shards: Path) -> None:
    check(name, tmp_path, shards, kills=12, seed=seed)
