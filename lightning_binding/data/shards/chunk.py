"""A chunk: many encoded examples in one file, in the format of litdata, any of them read without the others.

The file is the number of items N as uint32, N + 1 offsets as uint32, counted from the start of the file, and the items.
An item is the number of bytes of each of its leaves as uint32, and the leaves. All numbers are little-endian.
Items are read by `pread` and not through a mapping of the file: a file that is cut while it is read is then a short
read, where a mapping ends the process by a signal.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from lightning_binding.errors import InputError

MOST_BYTES = 2**32 - 1
"""Bytes of a chunk: offsets are uint32."""
_NUMBER = 4
_LEAVES = struct.Struct("<3I")
_LABEL = struct.Struct("<q")


class Example(NamedTuple):
    """An encoded example; the leaves of an item, in this order.

    Attributes:
        data: The bytes of the image or video file.
        label: Of its class; -1 where it has none.
        name: Its path in the source, with slashes.
    """

    data: bytes
    label: int
    name: str


def encode_example(example: Example) -> bytes:
    """An item of a chunk."""
    name = os.fsencode(example.name).decode("utf-8", "replace").encode()
    return _LEAVES.pack(len(example.data), _LABEL.size, len(name)) + example.data + _LABEL.pack(example.label) + name


def decode_example(item: bytes, where: str) -> Example:
    """The example of an item.

    Args:
        item: The bytes.
        where: Names the item in the message.

    Raises:
        InputError: The bytes are no such item.
    """
    if len(item) < _LEAVES.size:
        raise InputError(f"{where} has {len(item)} bytes, too few for an item; the file is damaged.")
    data, label, name = _LEAVES.unpack_from(item)
    if label != _LABEL.size or _LEAVES.size + data + label + name != len(item):
        raise InputError(f"{where} does not hold what its sizes say; the file is damaged, or of another kind.")
    at = _LEAVES.size + data
    text = item[at + label :].decode("utf-8", "replace")
    printable = "".join(letter if letter.isprintable() else "?" for letter in text)
    return Example(item[_LEAVES.size : at], _LABEL.unpack_from(item, at)[0], printable)


def pack(items: Sequence[bytes]) -> bytes:
    """The bytes of a chunk.

    Raises:
        InputError: They would be more than 4 GiB.
    """
    offsets = [_NUMBER * (len(items) + 2)]
    for item in items:
        offsets.append(offsets[-1] + len(item))
    if offsets[-1] > MOST_BYTES:
        raise InputError(f"a chunk of {offsets[-1]} bytes cannot be written, the format ends at {MOST_BYTES}.")
    return b"".join([struct.pack(f"<{len(offsets) + 1}I", len(items), *offsets), *items])


class Chunk:
    """An open chunk.

    Args:
        path: Of the file; a symbolic link is refused, as it could lead out of the folder.

    Raises:
        InputError: There is no such file, or it is cut or no chunk.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = path
        try:
            self.file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError as error:
            raise InputError(f"the chunk {path} cannot be opened: {error.strerror} (links are refused).") from error
        try:
            self.bytes = os.fstat(self.file).st_size
            (self.count,) = struct.unpack("<I", self._read(0, _NUMBER))
            self.start = _NUMBER * (self.count + 2)
            if self.start > self.bytes:
                raise InputError(f"the chunk {path} has {self.bytes} bytes, too few for {self.count} items: it is cut.")
        except BaseException:
            self.close()
            raise

    def item(self, index: int) -> bytes:
        """The bytes of an item.

        Raises:
            InputError: There is none of this number, or the file is damaged.
        """
        if not 0 <= index < self.count:
            raise InputError(f"the chunk {self.path} has {self.count} items, and none of number {index}.")
        begin, end = struct.unpack("<2I", self._read(_NUMBER * (index + 1), 2 * _NUMBER))
        if not self.start <= begin <= end <= self.bytes:
            raise InputError(f"item {index} of the chunk {self.path} is not within the file; it is cut or damaged.")
        return self._read(begin, end - begin)

    def example(self, index: int) -> Example:
        """An item as an example; errors as those of `item`."""
        return decode_example(self.item(index), f"item {index} of the chunk {self.path}")

    def close(self) -> None:
        """Closes the file."""
        if self.file >= 0:
            os.close(self.file)
        self.file = -1

    def _read(self, at: int, count: int) -> bytes:
        """Some bytes, no more of which are asked for than the file has."""
        if at + count > self.bytes:
            raise InputError(f"the chunk {self.path} ends at {self.bytes} bytes; it is cut, or no chunk.")
        try:
            found = os.pread(self.file, count, at)
            while len(found) < count and (more := os.pread(self.file, count - len(found), at + len(found))):
                found += more
        except OSError as error:
            raise InputError(f"the chunk {self.path} cannot be read: {error.strerror}.") from error
        if len(found) < count:
            raise InputError(f"the chunk {self.path} was cut while it was read.")
        return found
