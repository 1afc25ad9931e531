"""The benchmark suite: what is told apart from noise, and a case that is measured from its first process to its row."""

import importlib
import json
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from lightning_binding.crw.module import ContrastiveRandomWalk
from lightning_binding.crw.patches import PatchGrid

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
NEEDED = ("cases.crw", "cases.limits", "catalogue")


def run(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(BENCHMARKS / program), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def file(path: Path, ratios: list[float], mib: float = 100.0, torch: str = "2.13.0") -> str:
    """A file of one case whose peer takes a second a round."""
    ours = {"units": 1, "price": 1, "mib": mib, "seconds": [1 / ratio for ratio in ratios]}
    peer = {"units": 1, "price": 1, "mib": 200.0, "seconds": [1.0] * len(ratios)}
    setting = {"versions": {"torch": torch}, "processor": "one"}
    path.write_text(json.dumps({"setting": setting, "cases": {"crw_walk": {"ours": ours, "peer": peer}}}))
    return str(path)


BEFORE = [2.0, 2.1, 1.9, 2.05, 1.95]


@pytest.mark.parametrize(
    ("after", "mib", "status", "word"),
    [
        ([2.0, 2.1, 1.9, 2.05, 1.95], 100, 0, ""),
        ([1.8, 1.95, 1.85, 1.9, 1.92], 100, 0, ""),  # slower in the middle, but the rounds overlap
        ([1.7, 1.75, 1.72, 1.8, 1.71], 100, 1, "SLOWER"),
        ([2.3, 2.4, 2.35, 2.5, 2.45], 100, 0, "faster"),
        (BEFORE, 105, 0, ""),
        (BEFORE, 120, 1, "MORE MEMORY"),
    ],
)
def test_a_regression_is_what_exceeds_the_noise(
    after: list[float], mib: float, status: int, word: str, tmp_path: Path
) -> None:
    found = run("compare", file(tmp_path / "a.json", BEFORE), file(tmp_path / "b.json", after, mib))
    assert found.returncode == status, found.stderr
    (row,) = (line for line in found.stdout.splitlines() if line.startswith("| crw_walk"))
    assert row.split("|")[-2].strip() == word


def test_other_versions_are_named(tmp_path: Path) -> None:
    found = run("compare", file(tmp_path / "a.json", BEFORE), file(tmp_path / "b.json", BEFORE, torch="2.14.0"))
    assert "torch: 2.13.0 before, 2.14.0 after." in found.stdout


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"cases": [], "setting": {"versions": {}}}'])
def test_a_file_of_something_else_is_a_sentence(content: str, tmp_path: Path) -> None:
    (tmp_path / "b.json").write_text(content)
    found = run("compare", file(tmp_path / "a.json", BEFORE), str(tmp_path / "b.json"))
    assert "is not a file of benchmarks/run" in found.stderr
    assert "Traceback" not in found.stderr


def test_a_case_is_measured(tmp_path: Path) -> None:
    found = run("run", "--only", "crw_walk", "--rounds", "1", "--turn", "0", "--out", str(tmp_path / "found.json"))
    assert found.returncode == 0, found.stderr
    result: dict[str, Any] = json.loads((tmp_path / "found.json").read_text())
    assert {"commit", "processor", "versions", "date"} <= set(result["setting"])
    sides = result["cases"]["crw_walk"]
    assert set(sides) == {"ours", "peer"}
    for side in sides.values():
        assert len(side["seconds"]) == 1
        assert min(side["seconds"]) > 0
        assert side["units"] == 20
    assert "| CRW, the loss of T 10 with its gradient |" in found.stdout


def test_each_round_starts_processes_that_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of a slow start are slow in all of their turns; the best of them is the round's."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    harness = importlib.import_module("suite.harness")
    started: list[str] = []
    turns: list[str] = []

    class Fake:
        def __init__(self, case: str, side: str) -> None:
            started.append(side)
            self.side, self.slow, self.taken = side, len(started) // 3, 0

        def ready(self) -> dict[str, Any]:
            return {"units": 20, "price": 20}

        def turn(self, calls: int) -> dict[str, Any]:
            turns.append(self.side)
            self.taken += 1
            seconds = [self.slow + 1 / self.taken] * calls
            return {"seconds": seconds, "mib": 100 * self.slow + self.taken}

        def close(self) -> None:
            turns.append("")

    monkeypatch.setattr(harness, "Process", Fake)
    found = harness.measure("crw_walk", rounds=2, turn=0, turns=2)
    assert started == ["ours", "peer"] * 2
    assert turns == [*["ours", "peer"] * 3, "", ""] * 2
    assert found["ours"] == {"units": 20, "price": 20, "mib": 103, "seconds": [1 / 3, 1 + 1 / 3]}
    turns.clear()
    monkeypatch.setattr(harness, "LONG", 0.5)
    harness.measure("crw_walk", rounds=1, turn=0, turns=2)
    assert turns == [*["ours", "peer"] * 2, "", ""]


def test_the_limit_of_a_step_of_crw_is_that_of_its_operations(monkeypatch: pytest.MonkeyPatch) -> None:
    """A convolution of a ResNet-18's first stage and the walk's products are among them, forward and back."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    crw, limits, catalogue = (importlib.import_module(f"suite.{name}") for name in NEEDED)
    four = PatchGrid(64, 32, 96)  # patches of a frame; the recipe's are 49
    recipe = partial(ContrastiveRandomWalk, nodes=four, padding="reflect")
    monkeypatch.setattr(crw.crw_step, "recipe", lambda channels_last: recipe())
    monkeypatch.setattr(limits, "SIZE", 8)
    side = crw.SIDES["crw_step"]["peer"]()
    bound = crw.SIDES["crw_step"][catalogue.CASES["crw_step"].limit]()
    assert bound.price == 2 * 8**3
    convolution = 2 * 9 * 64 * 64 * 32 * 32  # of one patch of 64 px at stride 2
    assert side.price > 3 * crw.crw_step.FRAMES * 4 * convolution


def test_files_name_the_commit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    machine, setting = (importlib.import_module(name) for name in ("machine", "suite.setting"))

    def git(*arguments: str) -> str:
        command = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-C", str(tmp_path), *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    monkeypatch.setattr(setting, "__file__", str(tmp_path / "setting.py"))
    git("init", "-q")
    assert setting.commit() is None
    (tmp_path / "a").write_text("one")
    git("add", "a")
    git("commit", "-qm", "one")
    assert machine.machine(1)["commit"] == setting.setting()["commit"] == git("rev-parse", "--short", "HEAD")
    (tmp_path / "a").write_text("two")
    assert machine.machine(1)["commit"] == git("rev-parse", "--short", "HEAD") + "-dirty"


def test_neither_program_imports_torch() -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import suite.harness, suite.numbers, suite.table, suite.setting"
    )
    command = [sys.executable, "-c", f"{code}, suite.growth; assert 'torch' not in sys.modules", str(BENCHMARKS)]
    subprocess.run(command, check=True)
