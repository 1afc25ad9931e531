"""How far each rank of a run is, so that those that wait can say for whom."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import torch.distributed as dist

from lightning_binding.callbacks.rank_news import RankNews
from lightning_binding.callbacks.rank_store import RankStore

SILENCES = 3
"""Questions in a row that the store leaves unanswered where it stands still, and is not only slow."""
GRACE = 10.0
"""Seconds in which a rank may come to the same error as one that has left, and end by itself."""


class RankProgress(threading.Thread):
    """Tells the others how far this rank is, and speaks up when it waits too long for one that is behind.

    How far a rank is are two numbers that only grow: the places of the training loop that it has passed, and the
    collectives of the process group that it has entered. Who waits in a collective has entered one more than who does
    not come, be it in the forward pass of a sharded network or in the backward pass. The thread goes on while the
    training waits, and asks the store of the process group.

    Where all are equally far, nobody waits for anybody: they may be slow together, as in a first step that compiles.

    Args:
        timeout: Seconds in one place after which this rank asks whether another is behind.
        overdue: Called from the thread with the ranks that are behind (None where the store does not answer, which rank
            0 or torchrun keeps; none of them where the store is gone, as another rank has ended the run), and whether
            this one is among them.
        left: Called from the thread, some seconds after another rank has died or left the run by its own error, with
            who it was and why, if this one is still there.

    Attributes:
        store: What the ranks tell each other goes through it.
        news: What ends the run.
    """

    def __init__(
        self, timeout: float, overdue: Callable[[list[int] | None, bool], None], left: Callable[[str], None]
    ) -> None:
        super().__init__(name="rank-progress", daemon=True)
        self.rank, self.ranks = dist.get_rank(), range(dist.get_world_size())
        self._timeout, self._overdue, self._left = timeout, overdue, left
        self._interval = min(1.0, timeout / 10)
        self.store = RankStore("rank_progress")
        self.news = RankNews(self.store, self.rank, self.ranks)
        self._group: Any = dist.group.WORLD
        self._done = threading.Event()
        self._passed, self._watched = 0, False
        self._told: list[int] = []
        self._tell()

    def passes(self, watched: bool) -> None:
        """A place of the training loop; every rank comes by the same ones.

        Args:
            watched: Whether the others are waited for from here to the next place.
        """
        self._passed, self._watched = self._passed + 1, watched

    def rests(self) -> None:
        """Nobody is waited for until the next place."""
        self._watched = False

    def stop(self) -> None:
        """Ends the thread."""
        self._watched = False
        self._done.set()

    def behind(self) -> list[int] | None:
        """The other ranks that are less far than this one; None where the store does not answer."""
        here = self._here()
        others = [rank for rank in self.ranks if rank != self.rank]
        places = self.store.read_all([str(rank) for rank in others])
        if places is None:
            return None
        return [rank for rank, at in zip(others, places, strict=True) if [int(each) for each in at.split(",")] < here]

    def run(self) -> None:
        """Looks around, some ten times in the timeout."""
        since, silences, heard = time.monotonic(), 0, 0.0
        while not self._done.wait(self._interval):
            if self._here() != self._told:
                since, silences = time.monotonic(), 0
                self._tell()
            hang, who = self.news.hear()
            if hang:
                self._speak(hang)
            elif who:
                heard = heard or time.monotonic()
                if time.monotonic() - heard >= GRACE and not self._done.is_set():
                    self._left(who)
            elif not self._watched:
                since = time.monotonic()
            elif time.monotonic() - since >= self._timeout:
                found = self.behind()
                if self._here() != self._told or not self._watched:
                    continue
                if self.store.gone:
                    self._speak([])
                elif found == []:
                    since = time.monotonic()  # nobody waits for anybody: there is no hurry to ask again
                elif found and (who := self.news.who_ended()):
                    self._left(who)
                elif found or (silences := silences + 1) >= SILENCES:
                    self.news.end(found)
                    self._speak(found)

    def _speak(self, ranks: list[int] | None) -> None:
        if not self._done.is_set():
            self._overdue(ranks, self.rank in (ranks or []))

    def _here(self) -> list[int]:
        try:
            entered = int(self._group._get_sequence_number_for_group())
        except RuntimeError:  # before the first collective of some backends
            entered = 0
        return [self._passed, entered]

    def _tell(self) -> None:
        here = self._here()
        if self.store.write(str(self.rank), ",".join(map(str, here))):
            self._told = here
