"""What the benchmarks of CARML make of logs and of turns; the runs themselves are too long for a test."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(autouse=True)
def found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))


def log(folder: Path, rows: list[str]) -> str:
    folder.mkdir()
    (folder / "metrics.csv").write_text("\n".join(["epoch,step,train/env_steps,val/success_last", *rows]) + "\n")
    return str(folder)


def test_transfer_and_samples_are_read_from_logs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import carml_quickstart

    curriculum = log(tmp_path / "c", ["0,15,5000,", "0,15,,0.25", "1,31,10000,", "1,31,,0.5"])
    start = log(tmp_path / "v", ["0,0,,0.0375"])
    quick = log(tmp_path / "f", ["4,79,25600,", "4,79,,0.5", "9,159,51200,", "9,159,,0.82"])
    slow = log(tmp_path / "r", ["4,79,25600,", "4,79,,0.1", "9,159,51200,", "9,159,,0.79"])
    out = tmp_path / "found.json"
    command = ["benchmarks/carml_quickstart.py", "--curriculum", curriculum, "--start", start]
    command += ["--finetune", quick, "--rnd_finetune", slow, "--out", str(out)]
    monkeypatch.setattr(sys, "argv", command)
    carml_quickstart.main()
    result: dict[str, Any] = json.loads(out.read_text())
    assert result["transfer"] == {"curriculum": [[0.25, 0.5]]}
    assert result["transfer_at_start"] == [0.0375]
    assert result["samples_to_80_percent"] == {"scratch": [], "finetune": [51200], "rnd_finetune": [None]}
    assert result["curves"]["rnd_finetune"] == [[[25600, 0.1], [51200, 0.79]]]
    assert str(tmp_path) not in json.dumps(result)
    assert {"command", "date", "processor"} <= set(result["machine"])
    assert "| finetune | 51,200 |\n| rnd_finetune | more than 51,200 |" in capsys.readouterr().out


def test_agents_are_there_before_they_are_gone_on_from(tmp_path: Path) -> None:
    import carml_quickstart_runs as runs

    for place, kind in enumerate(runs.KINDS):
        command = runs.arguments(kind, 2, tmp_path)
        recipe = next(each.removeprefix("--config=") for each in command if each.startswith("--config="))
        assert Path(recipe).is_file()
        assert "--seed_everything=2" in command
        if kind in runs.BEFORE:
            assert runs.KINDS.index(runs.BEFORE[kind]) < place
            assert f"--model.init_from={tmp_path / runs.BEFORE[kind]}_2/checkpoints/last.ckpt" in command


def test_of_turns_the_best_counts_and_all_are_kept(tmp_path: Path) -> None:
    import turns

    script = tmp_path / "script.py"
    script.write_text(
        "import json, pathlib, sys\n"
        "file = pathlib.Path(__file__).with_suffix('.log')\n"
        "file.open('a').write(sys.argv[2])\n"
        "print('a word of a library')\n"
        "print(json.dumps({'steps': len(file.read_text()) % 3}))\n"
    )
    rounds = turns.turns(str(script), {"first": ["a"], "second": ["b"]}, 2)
    assert script.with_suffix(".log").read_text() == "abab"  # one after the other, and again
    assert rounds == {"first": [{"steps": 1}, {"steps": 0}], "second": [{"steps": 2}, {"steps": 1}]}
    turns.write(tmp_path / "new" / "out.json", {"threads": 1}, rounds)
    assert json.loads((tmp_path / "new" / "out.json").read_text()) == {
        "machine": {"threads": 1},
        "best": {"first": {"steps": 1}, "second": {"steps": 2}},
        "rounds": rounds,
    }
