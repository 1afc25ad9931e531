"""What the datasets of encoded examples read from: files of a folder, or items of shards."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any, Protocol


class Source(Protocol):
    """Encoded images or videos with labels."""

    @property
    def root(self) -> str:
        """What all paths begin with."""

    @property
    def total(self) -> int:
        """Number of examples."""

    def full_path(self, index: int) -> str:
        """What an example is called in messages and in the list of broken ones."""

    def opened(self, index: int) -> AbstractContextManager[tuple[Any, int]]:
        """What the decoder takes, for a while: a path or a file; and the label, -1 where unknown."""

    def identity(self) -> bytes:
        """Bytes that change where the examples do."""
