"""The embedded archive of emoji, and its split into training and held-out groups."""

from __future__ import annotations

import functools
import hashlib
import io
from importlib import resources
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

HELD_OUT = 0.1
"""Share of the groups that the hash of their name sends to the held-out side."""
VENDORS = ("twitter", "google")
CLASS_NAMES = (
    "Activities",
    "Animals & Nature",
    "Flags",
    "Food & Drink",
    "Objects",
    "People & Body",
    "Smileys & Emotion",
    "Symbols",
    "Travel & Places",
)


class Emoji(NamedTuple):
    """The archive: `pixels` `(N, 4, 32, 32)` uint8 with straight alpha, and arrays of `N` that describe them."""

    pixels: Tensor
    label: npt.NDArray[np.int64]
    group: npt.NDArray[np.str_]
    name: npt.NDArray[np.str_]
    vendor: npt.NDArray[np.str_]
    is_variant: npt.NDArray[np.bool_]
    held_out: npt.NDArray[np.bool_]


def is_held_out(group: str) -> bool:
    """Whether a group of drawings is held out: the first bytes of the SHA-256 of its name, read as a fraction."""
    return int.from_bytes(hashlib.sha256(group.encode()).digest()[:8], "big") < HELD_OUT * 2**64


@functools.cache
def load_emoji() -> Emoji:
    """Decode the archive that ships with the package, once in a process."""
    with (
        resources.files("lightning_binding.data").joinpath("embedded/emoji.npz").open("rb") as file,
        np.load(file, allow_pickle=False) as stored,
    ):
        arrays = dict(stored)
    size, vendors = int(arrays["size"]), arrays["vendor_names"]
    tiles = []
    for number, vendor in enumerate(vendors):
        sheet = np.asarray(Image.open(io.BytesIO(arrays[f"atlas_{vendor}"].tobytes())).convert("RGBA"))
        rows, columns = sheet.shape[0] // size, sheet.shape[1] // size
        cut = sheet.reshape(rows, size, columns, size, 4).transpose(0, 2, 4, 1, 3).reshape(-1, 4, size, size)
        tiles.append(cut[: int((arrays["vendor"] == number).sum())])
    group_names = arrays["group_names"]
    held_out = np.array([is_held_out(str(name)) for name in group_names])
    return Emoji(
        torch.from_numpy(np.concatenate(tiles)),
        arrays["label"].astype(np.int64),
        group_names[arrays["group"]],
        arrays["name"],
        vendors[arrays["vendor"]],
        arrays["is_variant"],
        held_out[arrays["group"]],
    )
