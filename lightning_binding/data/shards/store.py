"""Where chunks are: in a folder, from which they are opened as they lie."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from lightning_binding.data.shards.chunk import Chunk
from lightning_binding.data.shards.index import NAME, ChunkInfo, ShardIndex, read_index
from lightning_binding.errors import InputError


class Store(Protocol):
    """A folder of chunks, here or elsewhere.

    Attributes:
        keeps_open: Chunks that a process may keep open.
    """

    keeps_open: int

    @property
    def root(self) -> str:
        """What it is called in messages."""

    def index(self) -> ShardIndex:
        """What it holds.

        Raises:
            InputError: It cannot be had, or is no index.
        """

    def open(self, info: ChunkInfo) -> Chunk:
        """A chunk, which stays where it is until it is closed.

        Raises:
            InputError: It cannot be had, or is not what the index says.
        """

    def expect(self, infos: Sequence[ChunkInfo], past: Sequence[ChunkInfo] = ()) -> None:
        """Hears which chunks are needed now and next, and may begin to fetch them.

        Args:
            infos: The most urgent first.
            past: What may still be read, the oldest first.
        """


class Folder:
    """Chunks in a folder, on this machine or on a network file system.

    Args:
        root: The folder.
    """

    keeps_open = 16

    def __init__(self, root: str) -> None:
        self.root = root

    def index(self) -> ShardIndex:
        """What the folder holds; errors as those of `Store.index`."""
        path = Path(self.root) / NAME
        if not path.is_file():
            raise InputError(
                f"There is no {path}; expected are shards, which `lightning-binding shard --source … --out …` writes."
            )
        return read_index(path)

    def open(self, info: ChunkInfo) -> Chunk:
        """A chunk; errors as those of `Store.open`."""
        return open_checked(Path(self.root) / info.file, info)

    def expect(self, infos: Sequence[ChunkInfo], past: Sequence[ChunkInfo] = ()) -> None:
        """Nothing has to be fetched."""


def open_checked(path: Path, info: ChunkInfo) -> Chunk:
    """Opens a chunk, and compares its sizes with those in the index.

    Raises:
        InputError: They differ.
    """
    chunk = Chunk(path)
    if (chunk.count, chunk.bytes) != (info.examples, info.bytes):
        chunk.close()
        raise InputError(
            f"the chunk {path} has {chunk.count} examples in {chunk.bytes} bytes, where the index says {info.examples} "
            f"in {info.bytes}: it is damaged, or of other shards."
        )
    return chunk
