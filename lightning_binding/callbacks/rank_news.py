"""Why a run of several ranks ends: which of them left it, for what error, and which does not answer any more."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence

import torch.distributed as dist

from lightning_binding.callbacks.rank_store import RankStore

ROLL_CALL = 5.0
"""Seconds in which the thread of a rank that lives answers; it looks once a second."""
LOOK = 0.2
"""Seconds between two looks at who has answered."""
_NEWS, _ENDS, _LEFT, _DEAD, _CALL, _DONE = "news", "ends", "left", "dead", "call", "done"
_ECHO = re.compile(r"gloo|nccl|connection (?:closed|reset)|broken pipe|monitoredbarrier", re.IGNORECASE)


class RankNews:
    """News that end a run, from rank to rank.

    A rank that raises an error of its own says so before its process ends; what the others raise then, a connection
    that was closed, is the echo. Where nobody said anything a roll is called: the thread of each rank that lives
    answers. Who does not is dead, or stands still: a thread cannot answer while its process holds Python's lock.

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
        if news.keys() & {_CALL, _ENDS} and not self._answered:
            self._answer()
        self._who = self._who or _who(news)
        return [int(rank) for rank in news[_ENDS].split(",")] if _ENDS in news else [], self._who

    def end(self, ranks: Sequence[int] | None) -> None:
        """Ends the run for ranks that hang, which are to say where they stand; None is whoever keeps the store."""
        self._tell(_ENDS, ",".join(map(str, ranks or [0])))

    def leave(self, reason: str) -> None:
        """Tells the others that this rank ends by itself, and why; who said so first is heard."""
        self._tell(_LEFT, f"{self._rank},{reason}")

    def finish(self, step: int) -> None:
        """Tells that this rank has come to the end of its training, of so many steps."""
        self._store.write_first(_DONE, f"{self._rank},{step}")
        self._answer()

    def who_ended(self) -> str:
        """A sentence's beginning for what is behind an echo; empty where all ranks answer. Waits for the roll call."""
        if self._who:
            return self._who
        self._answer()
        self._tell(_CALL, "all")
        deadline = time.monotonic() + ROLL_CALL
        answers = [f"here {rank}" for rank in self._ranks]
        while time.monotonic() < deadline and not self._store.has(answers):
            if who := _who(self._store.read([_LEFT, _DEAD]) or {}):
                return who
            time.sleep(LOOK)
        found = self._store.read([_LEFT, _DEAD, _DONE, *answers])
        if found is None:
            return "rank 0 or torchrun, which keeps the ranks together, has ended or stands still"
        silent = ", ".join(str(rank) for rank, answer in zip(self._ranks, answers, strict=True) if answer not in found)
        if silent:
            self._store.write_first(_DEAD, silent)
        return _who({_DEAD: silent, **found})

    def _answer(self) -> None:
        self._answered = self._store.write(f"here {self._rank}", "yes")

    def _tell(self, key: str, text: str) -> None:
        self._store.write_first(key, text)
        self._store.write(_NEWS, "yes")


def is_echo(error: BaseException | None) -> bool:
    """Whether an error is what a rank raises because another has ended."""
    if error is None:
        return False
    lost = isinstance(error, dist.DistNetworkError)
    return lost or (isinstance(error, RuntimeError) and bool(_ECHO.search(str(error)))) or is_echo(error.__cause__)


def _who(news: dict[str, str]) -> str:
    """A sentence's beginning for the news that a rank has left, died, or come to its end before the others."""
    if _LEFT in news:
        rank, reason = news[_LEFT].split(",", 1)
        return f"rank {rank} ended by its own error ({reason})"
    if dead := news.get(_DEAD):
        ranks, it = (f"ranks {dead} do", "they") if "," in dead else (f"rank {dead} does", "it")
        return f"{ranks} not answer any more: {it} died, or stand{'' if it == 'they' else 's'} still"
    if _DONE in news:
        rank, step = news[_DONE].split(",")
        return f"rank {rank} came to the end of its training after {step} steps, others did not (have they equal data?)"
    return ""
