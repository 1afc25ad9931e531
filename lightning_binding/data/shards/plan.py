"""Which example goes into which chunk: decided before anything is written, from names and sizes alone.

The same source and options give the same plan, so a conversion that was ended goes on with the chunks that are missing,
and ends with the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import os
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from lightning_binding.data.draws import draw_bytes
from lightning_binding.data.scan import Files
from lightning_binding.data.shards.sides import Found, source_name
from lightning_binding.errors import InputError

MOST_CHUNKS = 50_000
"""Of a side: the index must stay within `limits.MOST_TEXT`."""


class Task(NamedTuple):
    """One chunk.

    Attributes:
        side: `train` or `val`.
        number: Of the chunk in its side.
        paths: Of the files.
        names: Of the examples.
        labels: Of the examples.
    """

    side: str
    number: int
    paths: list[str]
    names: list[str]
    labels: list[int]

    @property
    def file(self) -> str:
        """The name of the chunk."""
        return f"chunk-{self.number:05d}.bin"


class Plan(NamedTuple):
    """All chunks, and a digest of all that they depend on: names, labels, sizes and options."""

    tasks: list[Task]
    digest: str


def make_plan(found: Found, kind: str, chunk_bytes: int, seed: int | None) -> Plan:
    """Distributes the examples.

    Args:
        found: The examples.
        kind: `image` or `video`.
        chunk_bytes: Bytes of files that a chunk holds at most, unless one file alone has more.
        seed: Of their order; None keeps that of the source, in which a chunk may hold a single class.

    Raises:
        InputError: There would be too many chunks.
    """
    tasks: list[Task] = []
    digest = hashlib.sha256(json.dumps([kind, chunk_bytes, seed, found.class_names]).encode())
    for side, files in found.sides.items():
        sizes = np.array([_size(files.full_path(index)) for index in range(files.total)], np.int64)
        digest.update(side.encode() + files.identity() + sizes.tobytes())
        order = np.arange(files.total)
        if seed is not None:
            keys = draw_bytes(seed, np.zeros_like(order), order).view("<u8")[:, 0]
            order = np.argsort(keys, kind="stable")
        parts = _cut(order, sizes, chunk_bytes)
        if len(parts) > MOST_CHUNKS:
            raise InputError(f"{len(parts)} shards of {side} are more than {MOST_CHUNKS}; give a larger --chunk_mb.")
        tasks += [_task(side, number, files, part) for number, part in enumerate(parts)]
    return Plan(tasks, digest.hexdigest())


def _size(path: str) -> int:
    """Of a file; nothing for one that cannot be read, which the conversion lists."""
    try:
        return os.stat(path).st_size
    except OSError:
        return 0


def _cut(order: npt.NDArray[np.int64], sizes: npt.NDArray[np.int64], most: int) -> list[npt.NDArray[np.int64]]:
    """Runs of the order whose files have no more bytes than `most`."""
    cuts, filled = [], 0
    for place, size in enumerate(sizes[order].tolist()):
        if place and filled + size > most:
            cuts.append(place)
            filled = 0
        filled += size
    return np.split(order, cuts)


def _task(side: str, number: int, files: Files, part: npt.NDArray[np.int64]) -> Task:
    names = [source_name(files, index) for index in part.tolist()]
    return Task(side, number, [files.full_path(index) for index in part.tolist()], names, files.label[part].tolist())
