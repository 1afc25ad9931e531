"""How far each rank of a run is, so that those that wait can say for whom."""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable
from typing import Any

import torch.distributed as dist

PATIENCE = 10.0
"""Seconds that the store of the process group may take for an answer."""
SILENCES = 3
"""Questions in a row that the store leaves unanswered where it stands still, and is not only slow."""
_ENDS = "ends"


class RankProgress(threading.Thread):
    """Tells the others how far this rank is, and speaks up when it waits too long for one that is behind.

    How far a rank is are two numbers that only grow: the places of the training loop that it has passed, and the
    collectives of the process group that it has entered. Who waits in a collective has entered one more than who does
    not come, be it in the forward pass of a sharded network or in the backward pass. The thread goes on while the
    training waits, and asks the store of the process group, which answers as long as the process that keeps it lives:
    that of rank 0, or torchrun.

    Where all are equally far, nobody waits for anybody: they may be slow together, as in a first step that compiles.

    Args:
        timeout: Seconds in one place after which this rank asks whether another is behind.
        overdue: Called from the thread with the ranks that are behind (None where the store does not answer, which rank
            0 or torchrun keeps; none of them where the store is gone, as another rank has ended the run), and whether
            this one is among them.

    Attributes:
        gone: Whether the store is gone, as it is when another rank has ended the run.
    """

    def __init__(self, timeout: float, overdue: Callable[[list[int] | None, bool], None]) -> None:
        super().__init__(name="rank-progress", daemon=True)
        self.rank, self.ranks = dist.get_rank(), range(dist.get_world_size())
        self._timeout, self._overdue = timeout, overdue
        self._interval = min(1.0, timeout / 10)
        # A connection of its own: the process group's may be in use while the training waits.
        store: Any = dist.distributed_c10d._get_default_store()
        self._store: Any = dist.distributed_c10d.PrefixStore("rank_progress", store.clone())
        self._group: Any = dist.group.WORLD
        self._done = threading.Event()
        self._passed, self._watched = 0, False
        self._question: threading.Thread | None = None
        self._told: list[int] = []
        self.gone = False
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
        """The ranks that are less far than this one; None where the store does not answer."""
        here = self._here()
        places = self._ask(lambda: self._store.multi_get([str(rank) for rank in self.ranks]))
        if places is None:
            return None
        return [rank for rank, place in zip(self.ranks, places, strict=True) if _numbers(place) < here]

    def run(self) -> None:
        """Looks around, some ten times in the timeout."""
        since, silences = time.monotonic(), 0
        while not self._done.wait(self._interval):
            if self._here() != self._told:
                since, silences = time.monotonic(), 0
                self._ask(self._tell)
            if not self._watched:
                since = time.monotonic()
                continue
            ended = self._ask(self._ends)
            if ended:
                self._speak(ended)
            elif time.monotonic() - since >= self._timeout:
                found = self.behind()
                if self._here() != self._told or not self._watched:
                    continue
                if self.gone:
                    self._speak([])
                elif found == []:
                    since = time.monotonic()  # nobody waits for anybody: there is no hurry to ask again
                elif found or (silences := silences + 1) >= SILENCES:
                    self._ask(functools.partial(self._end, found))
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

    def _tell(self) -> bool:
        here = self._here()
        self._store.set(str(self.rank), ",".join(map(str, here)))
        self._told = here
        return True

    def _ends(self) -> list[int]:
        """The ranks for which another one ends the run; none if it goes on."""
        return _numbers(self._store.get(_ENDS)) if self._store.check([_ENDS]) else []

    def _end(self, ranks: list[int] | None) -> None:
        """Tells those ranks, and the ones that wait for them as well."""
        self._store.set(_ENDS, ",".join(map(str, ranks or [0])))

    def _ask(self, question: Callable[[], Any]) -> Any:
        """What the store answers; None if it does not, as when the process or the machine of rank 0 stands still."""
        if self._question is not None and self._question.is_alive():
            self._question.join(PATIENCE)
            return None
        answers: list[Any] = []

        def ask() -> None:
            try:
                answers.append(question())
            except RuntimeError:  # the connection is closed, as its other end has ended
                self.gone = True

        self._question = threading.Thread(target=ask, daemon=True)
        self._question.start()
        self._question.join(PATIENCE)
        return answers[0] if answers else None


def _numbers(text: bytes) -> list[int]:
    return [int(number) for number in text.decode().split(",")]
