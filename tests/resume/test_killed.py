"""`kill -9` at any moment, then the same command: the run ends as one that was never killed, to the last bit."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

ROOT = Path(__file__).parents[2]
RECIPES = {"rin": "quickstart.yaml", "crw": "crw/quickstart.yaml", "carml": "carml/quickstart.yaml"}
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


def check(name: str, folder: Path, kills: int, seed: int) -> None:
    command = [sys.executable, "-m", "tests.resume.killer", str(folder), str(kills), str(seed), "fit"]
    command += [
        "--config",
        str(ROOT / "configs" / RECIPES[name]),
        "--config",
        str(Path(__file__).parent / f"{name}.yaml"),
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([*command, "--resume", "auto"], cwd=ROOT, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    killed = json.loads(done.stdout.splitlines()[-1])["kills"]
    assert len(killed) >= kills - 2, killed  # a run may be faster than its death
    assert differences(last(folder / "whole"), last(folder / "killed")) == []
    assert log(folder / "whole") == log(folder / "killed")
    assert len(list((folder / "killed" / "checkpoints").iterdir())) <= 2


@pytest.mark.parametrize("name", RECIPES)
def test_killed_run_ends_as_one_that_was_not(name: str, tmp_path: Path) -> None:
    check(name, tmp_path, kills=5, seed=0)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", RECIPES)
def test_killed_many_times(name: str, seed: int, tmp_path: Path) -> None:
    check(name, tmp_path, kills=12, seed=seed)
