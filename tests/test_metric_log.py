"""A log that goes on is the log of a run that was not interrupted."""

import os
from pathlib import Path
from typing import Any

import pytest

from lightning_binding.metric_log import MetricLog, read_rows


def write(folder: Path, steps: range, from_step: int | None = None) -> MetricLog:
    log = MetricLog(folder, from_step, flush_every_n_steps=1)
    for step in steps:
        log.log_metrics({"train/loss": step / 7, **({"val/loss": 1.0} if step % 3 == 2 else {})}, step)
        log.save()
    return log


def test_rows_behind_the_checkpoint_are_run_again(tmp_path: Path) -> None:
    write(tmp_path / "whole", range(9))
    write(tmp_path / "cut", range(7))
    write(tmp_path / "cut", range(4, 9), from_step=4)
    assert read_rows(tmp_path / "cut" / "metrics.csv") == read_rows(tmp_path / "whole" / "metrics.csv")
    assert [path.name for path in (tmp_path / "cut").glob("*.csv")] == ["metrics.csv"]


def test_a_row_that_a_crash_cut_off_is_left_out(tmp_path: Path) -> None:
    write(tmp_path, range(5))
    path = tmp_path / "metrics.csv"
    for cut in range(2, 20):  # the line ends with two characters
        rows = path.read_bytes()[:-cut]
        (tmp_path / "cut.csv").write_bytes(rows)
        found = read_rows(tmp_path / "cut.csv")
        assert [row["step"] for row in found] == [str(step) for step in range(len(found))]
        assert 3 <= len(found) <= 4


def test_the_row_of_a_checkpoint_is_written_once(tmp_path: Path) -> None:
    write(tmp_path, range(3))
    log = MetricLog(tmp_path, from_step=4)
    log.log_missing({"train/loss": 2 / 7}, 2)  # it is there
    log.log_missing({"train/loss": 0.5}, 3)  # the crash came before it
    log.save()
    rows = read_rows(tmp_path / "metrics.csv")
    assert [(row["step"], row["train/loss"]) for row in rows[2:]] == [("2", str(2 / 7)), ("3", "0.5")]


def test_a_new_log_leaves_the_old_one(tmp_path: Path) -> None:
    write(tmp_path, range(3))
    write(tmp_path, range(1))
    assert len(read_rows(tmp_path / "metrics.0.csv")) == 3
    assert len(read_rows(tmp_path / "metrics.csv")) == 1


def test_a_crash_at_the_start_loses_no_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = MetricLog(tmp_path)
    log.log_metrics({"loss": 1.0}, 0)
    log.log_metrics({"loss": 2.0}, 1)
    log.save()

    def dies(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", dies)
        with pytest.raises(KeyboardInterrupt):
            MetricLog(tmp_path, from_step=1).log_metrics({"loss": 3.0}, 1)
    assert [row["loss"] for row in read_rows(tmp_path / "metrics.csv")] == ["1.0", "2.0"]
    again = MetricLog(tmp_path, from_step=1)
    again.log_metrics({"loss": 3.0}, 1)
    again.save()
    assert [row["loss"] for row in read_rows(tmp_path / "metrics.csv")] == ["1.0", "3.0"]
    nothing = MetricLog(tmp_path, from_step=0)
    nothing.log_metrics({"other": 4.0}, 0)
    nothing.save()
    assert [row["other"] for row in read_rows(tmp_path / "metrics.csv")] == ["4.0"]
