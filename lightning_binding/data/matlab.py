"""Arrays of numbers in files of MATLAB, version 5 to 7 (MAT-File Format, The MathWorks).

scipy reads them too, but some damaged ones end its process by a signal. A file is a header and then elements: a tag
that tells type and length, and the data. A variable is an element of elements, deflated as a rule.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from lightning_binding.errors import InputError

MOST_BYTES = 64 * 2**20
"""Bytes of a file, and of a variable when it is inflated."""
HEADER = 128
ORDERS = {b"IM": "<", b"MI": ">"}
MATRIX, COMPRESSED = 14, 15
NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
"""Types of data; a matrix of doubles may be stored as the smallest integers that hold it."""
CLASSES = range(6, 16)
"""Classes of matrices that are numbers: not cells, structures, text or sparse ones."""
COMPLEX = 0x800


def read_array(path: Path, name: str) -> np.ndarray | None:
    """A variable.

    Args:
        path: Of the file.
        name: Of the variable.

    Returns:
        Its numbers, of the type in which they are stored; None if there is no such variable.

    Raises:
        InputError: The file cannot be read, is of another version, or the variable is no array of real numbers.
    """
    try:
        with open(path, "rb") as file:
            content = file.read(MOST_BYTES + 1)
        if len(content) > MOST_BYTES:
            raise ValueError(f"it is longer than {MOST_BYTES} bytes")
        order = ORDERS.get(content[126:HEADER])
        if order is None or content[125 if order == "<" else 124] != 1:
            raise ValueError("it is none of version 5 to 7; MATLAB writes one by save(…, '-v7')")
        for kind, data in _elements(content[HEADER:], order):
            if kind == COMPRESSED:
                ((kind, data),) = _elements(_inflated(data), order)
            if kind == MATRIX and (found := _matrix(data, order, name)) is not None:
                return found
    except (OSError, ValueError, struct.error, zlib.error) as error:
        raise InputError(f"{path} cannot be read as a file of MATLAB: {error}.") from error
    return None


def _elements(content: bytes, order: str) -> Iterator[tuple[int, bytes]]:
    """Types and data, one after another."""
    at = 0
    while at < len(content):
        kind, length = struct.unpack_from(f"{order}II", content, at)
        if kind >> 16:  # of four bytes at most, in the tag itself
            kind, length, start, end = kind & 0xFFFF, kind >> 16, at + 4, at + 8
        else:
            start = at + 8
            end = start + length + (0 if kind == COMPRESSED else -length % 8)
        if start + length > len(content) or (end - start < length):
            raise ValueError("it is cut off")
        yield kind, content[start : start + length]
        at = end


def _inflated(data: bytes) -> bytes:
    found = zlib.decompressobj().decompress(data, MOST_BYTES + 1)
    if len(found) > MOST_BYTES:
        raise ValueError(f"a variable inflates to more than {MOST_BYTES} bytes")
    return found


def _matrix(content: bytes, order: str, name: str) -> np.ndarray | None:
    """The numbers of a variable, if it has the name."""
    elements = _elements(content, order)
    try:
        flags, shape, called = (next(elements)[1] for _ in range(3))
        if called != name.encode():
            return None
        kind, data = next(elements)
    except (StopIteration, RuntimeError) as error:  # the latter from the generator above
        raise ValueError("a variable has no data") from error
    (flag,) = struct.unpack_from(f"{order}I", flags)
    if flag & 0xFF not in CLASSES or flag & COMPLEX or kind not in NUMBERS:
        raise ValueError(f"{name} is no array of real numbers")
    sides = np.frombuffer(shape, f"{order}i4")
    return np.frombuffer(data, order + NUMBERS[kind]).reshape(sides.tolist(), order="F")
