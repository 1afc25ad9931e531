"""A CSV log that goes on where a checkpoint left off, instead of beginning anew."""

from __future__ import annotations

import csv
import os
from pathlib import Path

from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.loggers.csv_logs import ExperimentWriter
from lightning.pytorch.utilities import rank_zero_only

Row = dict[str, str]


class _Writer(ExperimentWriter):
    """Lightning's writer, which begins with rows of before, and whose file is whole at any moment."""

    def __init__(self, log_dir: str, rows: list[Row]) -> None:
        super().__init__(log_dir)
        if rows:
            self.metrics_keys = sorted(rows[0])
            self._replace(rows)

    def _check_log_dir_exists(self) -> None:
        """What is there has been looked at; Lightning's would remove it before the rows of before are written."""

    def _rewrite_with_new_header(self, fieldnames: list[str]) -> None:
        self._replace(read_rows(self.metrics_file_path))

    def _replace(self, rows: list[Row]) -> None:
        beside = self.metrics_file_path + ".part"
        with open(beside, "w", newline="") as file:
            table = csv.DictWriter(file, fieldnames=self.metrics_keys)
            table.writeheader()
            table.writerows(rows)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, self.metrics_file_path)


def read_rows(path: str | Path) -> list[Row]:
    """The whole rows of a log; one that a crash cut off is left out."""
    lines = Path(path).read_text().splitlines(keepends=True)
    rows = csv.DictReader([line for line in lines if line.endswith("\n")])
    return [row for row in rows if None not in row.values() and row.get("step", "").isdigit()]


class MetricLog(CSVLogger):
    """Writes `metrics.csv` into a folder; a run that goes on there keeps the rows from before its checkpoint.

    Rows of steps behind the checkpoint, which will be run again, are dropped, so that the log of an interrupted run is
    that of one that was not.

    Args:
        folder: The run's folder.
        from_step: Optimizer steps that the checkpoint has behind it; None: a new log, and one that is there stays
            under another name.
        flush_every_n_steps: Steps between two writes; a checkpoint writes as well.
    """

    def __init__(self, folder: str | Path, from_step: int | None = None, flush_every_n_steps: int = 20) -> None:
        super().__init__(folder, name="", version="", flush_logs_every_n_steps=flush_every_n_steps)
        self._from_step = from_step
        self._kept: list[Row] = []

    @property
    def experiment(self) -> ExperimentWriter:
        """The writer, made when it is first asked for."""
        if self._experiment is None and self._first:
            self._kept = self._take_over()
            self._experiment = _Writer(self.log_dir, self._kept)
        writer: ExperimentWriter = super().experiment
        return writer

    def log_missing(self, metrics: dict[str, float], step: int) -> None:
        """Logs a row of the checkpoint, unless the log has these metrics of that step."""
        if self._first and self.experiment is not None:
            rows = [row for row in self._kept if int(row["step"]) == step]
            if not any(all(row.get(name) for name in metrics) for row in rows):
                self.log_metrics(dict(metrics), step)

    @property
    def _first(self) -> bool:
        """Whether this is the process that writes."""
        return getattr(rank_zero_only, "rank", 0) == 0

    def _take_over(self) -> list[Row]:
        """The rows to keep; an old log that is not gone on with is renamed."""
        path = Path(self.log_dir) / ExperimentWriter.NAME_METRICS_FILE
        if not path.exists():
            return []
        if self._from_step is None:
            path.rename(path.with_name(f"metrics.{len(list(path.parent.glob('metrics.*.csv')))}.csv"))
            return []
        rows = [row for row in read_rows(path) if int(row["step"]) < self._from_step]
        if not rows:
            path.unlink()
        return rows
