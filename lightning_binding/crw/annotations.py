"""Masks and points of a video as a user gives them: files, folders, or points in a string."""

import csv
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lightning_binding.crw.objects import VOID
from lightning_binding.errors import InputError
from lightning_binding.limits import parse_json, read_text
from lightning_binding.masks import read_mask


def read_masks(path: str, names: Sequence[str] | None = None, max_frames: int | None = None) -> dict[int, Tensor]:
    """Masks by the number of their frame; the first frame has one, which may be empty.

    A picture in black and white, where no id but 255 is used, has one object.

    Args:
        path: The mask of the first frame, or a folder of masks that are named as their frames.
        names: Of the frames, if they have names; otherwise masks are named by numbers, `00000.png` for the first.
        max_frames: Masks of later frames are left out.

    Returns:
        Ids, uint8 (H, W).

    Raises:
        InputError: If a mask is missing or damaged, or its name is that of no frame.
    """
    files = {0: Path(path)}
    if Path(path).is_dir():
        files = {_number(file, names): file for file in sorted(Path(path).glob("*.png"))}
        if not files:
            raise InputError(f"the folder {path} has no mask; expected PNGs that are named as their frames.")
    masks = {time: read_mask(file) for time, file in files.items() if max_frames is None or time < max_frames}
    masks.setdefault(0, torch.zeros_like(read_mask(next(iter(files.values())))))
    if all(bool(((mask == 0) | (mask == VOID)).all()) for mask in masks.values()):
        return {time: (mask == VOID).to(torch.uint8) for time, mask in masks.items()}
    return masks


def _number(file: Path, names: Sequence[str] | None) -> int:
    if names is not None and file.stem in names:
        return names.index(file.stem)
    if names is None and file.stem.isdecimal():
        return int(file.stem)
    expected = "00000.png for the first, 00001.png for the second" if names is None else f"{names[0]}.png for the first"
    raise InputError(f"the mask {file} belongs to no frame; expected names such as {expected}.")


def read_points(given: str) -> Tensor:
    """Points from a file or a string.

    Args:
        given: `x,y;x,y`, a CSV file with a point in every row (with or without a header that names x and y), or a JSON
            file with a list of pairs. Empty fields, null and nan are points that are not there.

    Returns:
        Coordinates x and y, float32 (K, 2).

    Raises:
        InputError: If it is no file and no points, or a point is not two numbers.
    """
    path = Path(given)
    if re.fullmatch(r"(nan|[\s\d.,;+\-eE])*", given):
        rows: list[Any] = [point.split(",") for point in given.split(";") if point.strip()]
    elif not path.is_file():
        raise InputError(f"--points {given}: there is no such file; expected a CSV or JSON file, or points 'x,y;x,y'.")
    else:
        rows = _json(path) if path.suffix.lower() == ".json" else _csv(path)
    points = [_point(row, given) for row in rows]
    if not points:
        raise InputError(f"--points {given}: there is no point; expected one or more, such as '12,40;80,33.5'.")
    return torch.tensor(points, dtype=torch.float32)


def _json(path: Path) -> list[Any]:
    rows = parse_json(read_text(path), f"--points {path}")
    if not isinstance(rows, list):
        raise InputError(f"--points {path} holds no list; expected [[x, y], [x, y]].")
    return rows


def _csv(path: Path) -> list[list[str]]:
    try:
        rows = [row for row in csv.reader(read_text(path).splitlines()) if row]
    except csv.Error as error:
        raise InputError(f"--points {path} is no CSV: {error}.") from error
    header = [name.strip().lower() for name in rows[0]] if rows else []
    if {"x", "y"} <= set(header):
        x, y = header.index("x"), header.index("y")
        return [[row[x], row[y]] if len(row) == len(header) else row for row in rows[1:]]
    return rows


def _point(row: Any, given: str) -> tuple[float, float]:
    try:
        x, y = (math.nan if value is None or str(value).strip() == "" else float(value) for value in row)
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(f"--points {given}: {row} is no point; expected two numbers, x and y.") from error
    return x, y
