"""Fetching what is needed next, in a thread."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress

from lightning_binding.data.shards.index import ChunkInfo
from lightning_binding.errors import InputError


class Prefetcher:
    """Fetches chunks one after another, in the order in which they were wanted.

    What fails is left to whoever opens the chunk, and meets the same error there.

    Args:
        fetch: Has a chunk at hand; does nothing if it is.
    """

    def __init__(self, fetch: Callable[[ChunkInfo], None]) -> None:
        self._fetch = fetch
        self._wanted: dict[ChunkInfo, None] = {}
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._work, name="prefetch", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether the thread lives; it does not in a process that was forked."""
        return self._thread.is_alive()

    def want(self, infos: Sequence[ChunkInfo]) -> None:
        """Chunks to fetch instead of those that were wanted before: who fell behind must not fetch what is past."""
        with self._changed:
            self._wanted = dict.fromkeys(infos)
            self._changed.notify()

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._wanted:
                    self._changed.wait()
                info = next(iter(self._wanted))
            with suppress(InputError):
                self._fetch(info)
            with self._changed:
                self._wanted.pop(info, None)
