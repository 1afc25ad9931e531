"""Why a run of several ranks ends: which of them left it, for what error, and which does not answer any more."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence

from lightning_binding.callbacks.rank_store import RankStore

ROLL_CALL = 5.0
"""Seconds in which the thread of a rank that lives answers; it looks once a second."""
_NEWS, _ENDS, _LEFT, _DEAD, _CALL = "news", "ends", "left", "dead", "call"
_ECHO = re.compile(r"gloo|nccl|connection (?:closed|reset)|broken pipe|monitoredbarrier", re.IGNORECASE)


class RankNews:
    """News that end a run, from rank to rank.

    A rank that raises an error of its own says so before its process ends; what the others raise then, a connection
    that was closed, is the echo. Where nobody said anything a roll is called: the thread of each rank that lives
    answers, and who does not is dead.

    Args:
        store: Where they are read and written.
        rank: This rank.
        ranks: All of them.
    """

    def __init__(self, store: RankStore, rank: int, ranks: Sequence[int]) -> None:
        self._store, self._rank, self._ranks = store, rank, ranks
        self._answered = False
        self._who = ""

    def hear(self) -> tuple[list[int], str]:
        """Ranks that hang, for which the run ends, and who ended; answers a roll that is called.

        In quiet times that is one question to the store.
        """
        if not self._store.read([_NEWS]):
            return [], ""
        news = self._store.read([_ENDS, _LEFT, _DEAD, _CALL]) or {}
        if _CALL in news and not self._answered:
            self._answer()
        self._who = self._who or _who(news)
        return [int(rank) for rank in news[_ENDS].split(",")] if _ENDS in news else [], self._who

    def end(self, ranks: Sequence[int] | None) -> None:
        """Ends the run for ranks that hang, which are to say where they stand; None is whoever keeps the store."""
        self._tell(_ENDS, ",".join(map(str, ranks or [0])))

    def leave(self, reason: str) -> None:
        """Tells the others that this rank ends by itself, and why; who said so first is heard."""
        self._tell(_LEFT, f"{self._rank},{reason}")

    def who_ended(self) -> str:
        """A sentence's beginning for what is behind an echo; empty where all ranks answer. Waits for the roll call."""
        if self._who:
            return self._who
        self._answer()
        self._tell(_CALL, "all")
        deadline = time.monotonic() + ROLL_CALL
        present = {self._rank}
        while True:
            rest = [rank for rank in self._ranks if rank not in present]
            found = self._store.read([_LEFT, _DEAD, *(f"here {rank}" for rank in rest)])
            if found is None:
                return "rank 0 or torchrun, which keeps the ranks together, has ended or stands still"
            if who := _who(found):
                return who
            present |= {rank for rank in rest if f"here {rank}" in found}
            if len(present) == len(self._ranks):
                return ""
            if time.monotonic() > deadline:
                dead = ", ".join(str(rank) for rank in self._ranks if rank not in present)
                self._store.write_first(_DEAD, dead)
                return _who({_DEAD: dead})
            time.sleep(0.1)

    def _answer(self) -> None:
        self._answered = self._store.write(f"here {self._rank}", "yes")

    def _tell(self, key: str, text: str) -> None:
        self._store.write_first(key, text)
        self._store.write(_NEWS, "yes")


def is_echo(error: BaseException | None) -> bool:
    """Whether an error is what a rank raises because another has ended."""
    return error is not None and (
        (isinstance(error, RuntimeError) and _ECHO.search(str(error)) is not None) or is_echo(error.__cause__)
    )


def _who(news: dict[str, str]) -> str:
    """A sentence's beginning for the news that a rank has left, or died."""
    if _LEFT in news:
        rank, reason = news[_LEFT].split(",", 1)
        return f"rank {rank} ended by its own error ({reason})"
    dead = news.get(_DEAD, "")
    if "," in dead:
        return f"the processes of ranks {dead} do not answer any more: they died"
    return f"the process of rank {dead} does not answer any more: it died" if dead else ""
