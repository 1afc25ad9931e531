"""One process at a time writes into a folder."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lightning_binding.errors import InputError

NAME = ".lock"
_TAKEN = {errno.EACCES, errno.EAGAIN}
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}
"""What file systems answer that have no locks; there is nothing to wait for then."""


def no_link(path: str, flags: int) -> int:
    """An opener that refuses symbolic links."""
    return os.open(path, flags | os.O_NOFOLLOW, 0o644)


@contextmanager
def held(folder: Path, option: str, advice: str) -> Iterator[None]:
    """Has a folder for this process alone; it is made where it is missing.

    The lock is that of `lockf`: the system takes it from a process that ends in whatever way, forks do not have it, and
    it holds for all machines of a network file system that has locks.

    Args:
        folder: The folder.
        option: What gave it, for the message.
        advice: What to do where another process has it, to follow "wait for it, ".

    Raises:
        InputError: Another process has it, which is named; or the folder cannot be written.
    """
    path = folder / NAME
    try:
        folder.mkdir(parents=True, exist_ok=True)
        while True:
            file = no_link(str(path), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
            _lock(file, path, advice)
            if _same(file, path):
                break
            os.close(file)  # it was removed by the one before, in the very moment
    except OSError as error:
        raise InputError(f"{option} {folder}: the folder cannot be written ({error}).") from error
    try:
        os.truncate(file, 0)
        os.write(file, f"process {os.getpid()} on {socket.gethostname()}, since {time.ctime()}".encode())
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(file)


def _lock(file: int, path: Path, advice: str) -> None:
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _TAKEN:
            holder = os.read(file, 1000).decode(errors="replace") or "another process"
            os.close(file)
            raise InputError(f"{path.parent} is being written by {holder}: wait for it, {advice}") from error
        if error.errno not in _NO_LOCKS:
            os.close(file)
            raise


def _same(file: int, path: Path) -> bool:
    """Whether the file still has its name."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(file))
    except FileNotFoundError:
        return False
