"""Items of shards as a source of encoded examples."""

from __future__ import annotations

import io
import os
import tempfile
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from lightning_binding.data.shards.chunk import Chunk, Example
from lightning_binding.data.shards.store import Store
from lightning_binding.data.video_scan import ENDINGS


class ShardItems:
    """Examples of shards, numbered through all chunks; the decoder is given a file in memory.

    A copy in another process, such as a worker of a loader, opens its own chunks.

    Args:
        store: Where the chunks are.

    Raises:
        InputError: There is no valid index.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self.index = store.index()
        self._end = np.cumsum([chunk.examples for chunk in self.index.chunks])
        self._open: OrderedDict[int, Chunk] = OrderedDict()
        self._owner = os.getpid()

    def __getstate__(self) -> dict[str, Any]:
        """Leaves the open files behind."""
        return {**self.__dict__, "_open": OrderedDict(), "_owner": None}

    @property
    def root(self) -> str:
        """The folder or the address."""
        return self.store.root

    @property
    def total(self) -> int:
        """Number of examples."""
        return int(self._end[-1])

    @property
    def sizes(self) -> list[int]:
        """Examples of each chunk."""
        return [chunk.examples for chunk in self.index.chunks]

    def identity(self) -> bytes:
        """The digest of the index, which holds the checksums of the chunks."""
        return self.index.digest.encode()

    def example(self, index: int) -> Example:
        """An encoded example.

        Raises:
            InputError: Its chunk cannot be had, or is damaged.
        """
        number = int(np.searchsorted(self._end, index, side="right"))
        chunk = self._chunk(number)
        return chunk.example(index - (int(self._end[number]) - chunk.count))

    def full_path(self, index: int) -> str:
        """The root and the name in the source."""
        return f"{self.root}/{self.example(index).name}"

    @contextmanager
    def opened(self, index: int) -> Iterator[tuple[Any, int]]:
        """The bytes as a file, and the label."""
        example = self.example(index)
        yield io.BytesIO(example.data), example.label

    def expect(self, needed: list[int], past: list[int]) -> None:
        """Tells the store which chunks are needed now and next, and which others are still being read."""
        self.store.expect(*([self.index.chunks[number] for number in each] for each in (needed, past)))

    def close(self) -> None:
        """Closes all files."""
        while self._open:
            self._open.popitem()[1].close()

    def _chunk(self, number: int) -> Chunk:
        if self._owner != os.getpid():  # files that a parent opened are the parent's to close
            self._open, self._owner = OrderedDict(), os.getpid()
        if number not in self._open:
            while len(self._open) >= self.store.keeps_open:
                self._open.popitem(last=False)[1].close()
            self._open[number] = self.store.open(self.index.chunks[number])
        self._open.move_to_end(number)
        return self._open[number]


class ShardVideos(ShardItems):
    """Videos of shards; the decoder, which is a process of its own, is given the path of a file for the while."""

    @contextmanager
    def opened(self, index: int) -> Iterator[tuple[str, int]]:
        """The path of a temporary file, and the label."""
        example = self.example(index)
        ending = os.path.splitext(example.name)[1].lower()
        with tempfile.NamedTemporaryFile(suffix=ending if ending in ENDINGS else ".mp4") as file:
            file.write(example.data)
            file.flush()
            yield file.name, example.label
