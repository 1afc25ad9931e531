"""What the ranks of a run tell each other beside the training: in the store of the process group."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch.distributed as dist

PATIENCE = 10.0
"""Seconds that the store of the process group may take for an answer."""

_Answer = TypeVar("_Answer")
_fits = itertools.count()
"""Of the stores that this process has made, which are as many as those of the other ranks."""


class RankStore:
    """The store of the process group, asked with patience, and by several threads.

    It answers as long as the process that keeps it lives: that of rank 0, or torchrun. Each question is asked in a
    thread of its own, since no timeout reaches one that waits for a process that stands still. All ranks make as many
    of these: a second fit reads nothing of what the first one left.

    Args:
        name: What the keys belong to.

    Attributes:
        gone: Whether the store is gone, as it is when the process that kept it has ended.
    """

    def __init__(self, name: str) -> None:
        # A connection of its own: the process group's may be in use while the training waits.
        store: Any = dist.distributed_c10d._get_default_store()
        self._store: Any = dist.distributed_c10d.PrefixStore(f"{name} {next(_fits)}", store.clone())
        self._turn = threading.Lock()
        self._question: threading.Thread | None = None
        self.gone = False

    def write(self, key: str, text: str) -> bool:
        """Whether the text could be written."""
        return self._ask(lambda: self._store.set(key, _plain(text)) or True) or False

    def write_first(self, key: str, text: str) -> bool:
        """Whether the store answered; a text that another rank has written there before stays."""
        return self._ask(lambda: bool(self._store.compare_set(key, "", _plain(text)))) or False

    def has(self, keys: Sequence[str]) -> bool:
        """Whether all of them have a text, in one question."""
        return self._ask(lambda: bool(self._store.check(list(keys)))) or False

    def read(self, keys: Sequence[str]) -> dict[str, str] | None:
        """The texts of those keys that have one; None where the store does not answer."""

        def found() -> dict[str, str]:
            there = [key for key in keys if self._store.check([key])]
            return {key: self._store.get(key).decode() for key in there}

        return self._ask(found)

    def read_all(self, keys: Sequence[str]) -> list[str] | None:
        """The texts of keys that all have one, in one question; None where the store does not answer."""
        return self._ask(lambda: [text.decode() for text in self._store.multi_get(list(keys))])

    def _ask(self, question: Callable[[], _Answer]) -> _Answer | None:
        with self._turn:
            if self._question is not None and self._question.is_alive():
                self._question.join(PATIENCE)
                return None
            answers: list[_Answer] = []

            def ask() -> None:
                try:
                    answers.append(question())
                except RuntimeError:  # the connection is closed, as its other end has ended
                    self.gone = True

            self._question = threading.Thread(target=ask, daemon=True)
            self._question.start()
            self._question.join(PATIENCE)
            return answers[0] if answers else None


def _plain(text: str) -> str:
    """Text that can be sent: a file's name may hold bytes that are none."""
    return text.encode("utf-8", "backslashreplace").decode()
