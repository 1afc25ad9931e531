"""Files of JHMDB: lists of clips, and joints as MATLAB writes them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lightning_binding.data.matlab import read_array
from lightning_binding.errors import InputError

TEST = "2"  # what a list writes behind a clip of the test set; 1 is training, 0 neither


def listed_clips(path: Path) -> list[str]:
    """Names of the clips that a list marks as of the test set, one a line: `<clip>.avi 2`.

    Raises:
        InputError: If a line is none of a list.
    """
    names = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        name, _, group = line.strip().rpartition(" ")
        if line.strip() and (not name or group not in ("0", "1", TEST)):
            raise InputError(f"{path}, line {number}: expected `<clip>.avi` and 1 or 2, got {line!r}.")
        if group == TEST:
            names.append(name.strip().removesuffix(".avi"))
    return names


def read_points(path: Path, size: tuple[int, int]) -> Tensor:
    """Reads the joints of a clip.

    Args:
        path: A `.mat` file whose `pos_img` is (2, 15, T): x and y in pixels counted from 1.
        size: Height and width of the frames; a joint that lies outside is NaN.

    Returns:
        x and y in pixels counted from 0, float32 (T, 15, 2).

    Raises:
        InputError: If it cannot be read or has no such array.
    """
    found = read_array(path, "pos_img")
    if found is None or found.ndim != 3 or found.shape[0] != 2:
        shape = "no pos_img" if found is None else f"a pos_img of shape {found.shape}"
        raise InputError(f"{path} has {shape}; expected the array pos_img (2, joints, frames).")
    points = torch.from_numpy(np.asarray(found, np.float32).transpose(2, 1, 0) - 1)
    limit = torch.tensor([size[1], size[0]])
    outside = ((points < 0) | (points > limit - 1)).any(-1, keepdim=True)
    return torch.where(outside, torch.nan, points)
