"""The tables of results that the official evaluation of DAVIS writes."""

import csv
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor


def write_davis_tables(
    folder: str | Path,
    scores: Mapping[str, Tensor | float],
    objects: Mapping[str, Mapping[str, float]],
    subset: str = "val",
) -> tuple[Path, Path]:
    """Writes `global_results-{subset}.csv` and `per-sequence_results-{subset}.csv`, with three digits as official.

    Args:
        folder: Where to; it is made.
        scores: What `JaccardBoundary.compute` returns.
        objects: What `JaccardBoundary.per_object` returns.
        subset: Of the dataset.

    Returns:
        The two files.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    overall, each = folder / f"global_results-{subset}.csv", folder / f"per-sequence_results-{subset}.csv"
    columns = ["J-Mean", "F-Mean"]
    _write(overall, [list(scores), [f"{float(value):.3f}" for value in scores.values()]])
    rows = [[name, *(f"{values[column]:.3f}" for column in columns)] for name, values in objects.items()]
    _write(each, [["Sequence", *columns], *rows])
    return overall, each


def _write(path: Path, rows: list[list[str]]) -> None:
    with path.open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)
