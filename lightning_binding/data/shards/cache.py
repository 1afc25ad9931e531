"""A folder on this machine into which chunks are fetched; the processes of all ranks may share it.

A chunk is called by its checksum, so that shards that were changed are never taken for others. It is written beside
its place and renamed. One process fetches a chunk, others that want it wait for it. Chunks that were not opened for
longest make room for new ones, but none that a process has open.

All of this hangs on `flock`, so the folder should be on a local disk. The system takes the locks from a process that
dies. They are given back by name and not by closing files: a worker that was forked meanwhile holds copies of these.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from lightning_binding.data.shards.chunk import Chunk
from lightning_binding.data.shards.index import ChunkInfo, ShardIndex
from lightning_binding.data.shards.locks import locked, removed
from lightning_binding.data.shards.prefetch import Prefetcher
from lightning_binding.data.shards.transport import Remote
from lightning_binding.errors import InputError
from lightning_binding.holding import no_link

ATTEMPTS = 10
"""How often a chunk is fetched that is gone, or damaged, when it is opened."""


class PinnedChunk(Chunk):
    """An open chunk that is not removed before it is closed; arguments as those of `Chunk`."""

    def pin(self) -> bool:
        """Marks the file as in use; whether it is still there."""
        fcntl.flock(self.file, fcntl.LOCK_SH)
        with suppress(FileNotFoundError):
            os.utime(self.path)
            return os.stat(self.path).st_ino == os.fstat(self.file).st_ino
        return False

    def close(self) -> None:
        """Closes the file, which others may then remove."""
        if self.file >= 0:
            fcntl.flock(self.file, fcntl.LOCK_UN)
        super().close()


class Cached:
    """Chunks that are fetched when they are needed, or before.

    Args:
        remote: Where they are fetched from.
        folder: Where they are kept.
        most: Bytes that are kept, of all that use the folder; chunks that are open stay even beyond.

    Raises:
        InputError: The folder cannot be made.
    """

    keeps_open = 1  # what is open takes room; opening a chunk again takes less time than decoding an example

    def __init__(self, remote: Remote, folder: str, most: int) -> None:
        self.remote, self.most = remote, most
        self.folder = Path(folder).expanduser().absolute()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"the cache {folder} cannot be made ({error}); give another (reading.cache).") from error
        self._prefetcher: Prefetcher | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Leaves the thread behind."""
        return {**self.__dict__, "_prefetcher": None}

    @property
    def root(self) -> str:
        """Where the chunks come from."""
        return self.remote.root

    def index(self) -> ShardIndex:
        """What the remote folder holds; errors as those of `Store.index`."""
        return self.remote.index()

    def path(self, info: ChunkInfo) -> Path:
        """Where a chunk is kept."""
        name = info.sha256 or hashlib.sha256(f"{self.root}/{info.file} {info.bytes}".encode()).hexdigest()
        return self.folder / f"{name}.bin"

    def open(self, info: ChunkInfo) -> Chunk:
        """A chunk, fetched if it is not here; errors as those of `Store.open`."""
        path = self.path(info)
        for _ in range(ATTEMPTS):
            self.fetch(info)
            try:
                chunk = PinnedChunk(path)
            except InputError:
                if path.is_symlink():
                    raise
            else:
                if chunk.pin() and (chunk.count, chunk.bytes) == (info.examples, info.bytes):
                    return chunk
                chunk.close()
            with suppress(OSError):  # damaged; one that is merely gone is fetched again
                if path.stat().st_size != info.bytes:
                    path.unlink()
        raise InputError(
            f"{self.root}/{info.file} was fetched {ATTEMPTS} times, and removed or damaged before it was opened, or is "
            f"not what the index says: has {self.folder} room for the chunks in use (reading.cache_gb), and is its "
            "disk well?"
        )

    def expect(self, infos: Sequence[ChunkInfo], past: Sequence[ChunkInfo] = ()) -> None:
        """Has chunks fetched by a thread of this process, instead of those that were expected before.

        What is in neither list makes room first, then what is past, then what is needed next.

        Args:
            infos: The most urgent first.
            past: What may still be read, and is not fetched again, the oldest first.
        """
        now = time.time_ns()
        for place, info in enumerate([*past, *reversed(infos)]):
            with suppress(OSError):  # it is not there, or not ours to touch
                try:
                    os.utime(self.path(info), ns=(now + place, now + place), follow_symlinks=False)
                except PermissionError:  # a file of another user, whose group may write it, takes no time but now
                    os.utime(self.path(info), follow_symlinks=False)
        if self._prefetcher is None or not self._prefetcher.alive:
            self._prefetcher = Prefetcher(self.fetch)
        self._prefetcher.want(infos)

    def fetch(self, info: ChunkInfo) -> None:
        """Has a chunk in the folder, by whichever process.

        Raises:
            InputError: It cannot be had, or not be written.
        """
        path = self.path(info)
        if path.is_file():
            return
        with locked(self.folder / f"{path.name[:2]}.lock"):  # of few names, as locks cannot be removed safely
            if path.is_file():
                return
            with self._reserved(path.with_suffix(".part"), info.bytes) as part:
                self.remote.fetch(info, part)
                with locked(self.folder / "room.lock"):  # who makes room lists the files, and would overlook it
                    os.replace(part.name, path)

    @contextmanager
    def _reserved(self, path: Path, size: int) -> Iterator[IO[bytes]]:
        """A file that is counted at its whole size from the beginning, and removed if it is not renamed."""
        with locked(self.folder / "room.lock"):
            self._make_room(size)
            try:
                part = open(path, "w+b", opener=no_link)  # noqa: SIM115  (closed below)
                fcntl.flock(part, fcntl.LOCK_EX)
                part.truncate(size)
            except OSError as error:
                raise InputError(f"{path} cannot be written ({error.strerror}); give another cache.") from error
        try:
            yield part
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        finally:
            fcntl.flock(part, fcntl.LOCK_UN)
            part.close()

    def _make_room(self, size: int) -> None:
        """Removes the chunks that were not opened for longest, and what dead processes left unfinished."""
        files = []
        for path in self.folder.iterdir():
            with suppress(FileNotFoundError):
                if path.suffix in (".bin", ".part"):
                    files.append((path.suffix == ".bin", path.stat().st_mtime_ns, path.stat().st_size, path))
        used = sum(length for _, _, length, _ in files)
        for finished, _, length, path in sorted(files):
            if (not finished or used + size > self.most) and removed(path):
                used -= length
