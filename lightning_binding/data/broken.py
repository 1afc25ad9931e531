"""The list of files that cannot be read, kept in a file that all workers and ranks of a run share."""

from __future__ import annotations

import math
import os
import warnings
from pathlib import Path

from lightning_binding.errors import InputError


class TooManyBroken(InputError):
    """More files are broken than the run tolerates."""


class BrokenFiles:
    """Counts the files that could not be read and writes each name down once, one line each: path, tab, reason.

    The count is that of distinct names in the file, so that no worker, rank or epoch counts one twice or loses it: a
    line is appended by a single write, and a name that two processes find at the same moment is still one name.
    What is tolerated is a share of all files and not of those read so far: then it does not matter who reads what
    first.

    Args:
        file: The list; made when the first line is written. Lines of an earlier run count as well.
        root: The folder of the files that are counted here; the list may name files of other folders.
        total: Number of files under `root`, on both sides of a split.
        max_share: Share of them that may be broken. A single one is always tolerated, unless the share is 0.
        what: What such a file is called in messages, in the singular.
        advice: What to do when it is one too many.
    """

    def __init__(
        self,
        file: str | os.PathLike[str],
        root: str,
        total: int,
        max_share: float,
        what: str = "image",
        advice: str = "Mend or remove them (and that list), or raise max_broken.",
    ) -> None:
        self.file = Path(file)
        self.root = os.path.join(root, "")
        self.tolerated = max(1, math.floor(total * max_share)) if max_share > 0 else 0
        self.total = total
        self.what, self.advice = what, advice
        self._known: set[str] = set()

    def listed(self, reason: str = "") -> set[str]:
        """The paths in the file that lie under `root`, for any reason or for one that begins in a certain way."""
        if not self.file.exists():
            return set()
        lines = self.file.read_text(encoding="utf-8", errors="surrogateescape").split("\n")
        pairs = (line.partition("\t") for line in lines)
        return {path for path, _, why in pairs if path.startswith(self.root) and why.startswith(reason)}

    def add(self, path: str, error: Exception) -> None:
        """Note that a file cannot be read.

        Raises:
            TooManyBroken: It is one too many.
        """
        if path in self._known:
            return
        listed = self.listed()
        if path not in listed:
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            for _ in range(3):  # a network file system can lose a line that another machine writes over
                self._append(f"{path}\t{reason}\n".encode("utf-8", "surrogateescape"))
                listed = self.listed()
                if path in listed:
                    break
            warnings.warn(f"Skipped a broken {self.what}, {path} ({reason}); the list is {self.file}.", stacklevel=2)
        if len(listed) > self.tolerated:
            raise TooManyBroken(
                f"{len(listed)} of the {self.total} {self.what}s under {self.root} cannot be read, more than the "
                f"{self.tolerated} that max_broken tolerates; they are listed in {self.file}. {self.advice}"
            )
        self._known.add(path)

    def _append(self, line: bytes) -> None:
        """Write a line in one piece, at the end of the file as it then is."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(self.file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        try:
            os.write(handle, line)
        finally:
            os.close(handle)
