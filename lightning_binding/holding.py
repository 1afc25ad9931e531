"""One process at a time writes into a folder."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lightning.pytorch.utilities import rank_zero_info

from lightning_binding.errors import InputError

NAME = ".lock"
LEASE = 150.0
"""Seconds in which a network file system gives up the lock of a machine that died."""
_here: set[tuple[int, str]] = set()  # a process and a folder of its own, from which its lock does not keep it out
_TAKEN = {errno.EACCES, errno.EAGAIN}
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}
"""What file systems answer that have no locks; there is nothing to wait for then."""


def no_link(path: str, flags: int) -> int:
    """An opener that refuses symbolic links."""
    return os.open(path, flags | os.O_NOFOLLOW, 0o666)  # less the umask, as `open` does: a group may share a folder


@contextmanager
def held(folder: Path, option: str, advice: str, lease: float = 0.0) -> Iterator[None]:
    """Has a folder for this process alone; it is made where it is missing.

    The lock is that of `lockf`: the system takes it from a process that ends in whatever way, forks do not have it, and
    it holds for all machines of a network file system that has locks. Such a file system keeps those of a machine that
    died for a while.

    Args:
        folder: The folder.
        option: What gave it, for the message.
        advice: What to do where another process has it, to follow "wait for it, ".
        lease: Seconds to wait where a process of another machine has it, which may be dead.

    Raises:
        InputError: Another process has it, which is named, or this one has it already; or the folder cannot be written.
    """
    path, own = folder / NAME, (os.getpid(), str(folder.resolve()))
    if own in _here:
        raise InputError(f"{folder} is being written by this very process: wait for it, {advice}")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = _taken(path, advice, time.monotonic() + lease)
        try:
            os.truncate(file, 0)
            os.write(file, f"process {os.getpid()} on {socket.gethostname()}, since {time.ctime()}".encode())
        except OSError:
            os.close(file)
            raise
    except OSError as error:
        raise InputError(f"{option} {folder}: the folder cannot be written ({error}).") from error
    _here.add(own)
    try:
        yield
    finally:
        _here.discard(own)
        with suppress(OSError):
            path.unlink(missing_ok=True)
        os.close(file)


def _taken(path: Path, advice: str, deadline: float) -> int:
    """The locked file, once it can be had."""
    told = False
    while True:
        file = no_link(str(path), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
        holder = _lock(file)
        if not holder and _same(file, path):
            return file
        if not holder:  # it was removed by the one before, in the very moment
            os.close(file)
            continue
        os.close(file)
        if f" on {socket.gethostname()}," in holder or time.monotonic() > deadline:
            raise InputError(f"{path.parent} is being written by {holder}: wait for it, {advice}")
        if not told:
            rank_zero_info(f"{path.parent} is held by {holder}: waiting, as that machine may be dead.")
            told = True
        time.sleep(1)


def _lock(file: int) -> str:
    """Locks a file; who has it, if it is another process."""
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _TAKEN:
            return os.read(file, 1000).decode(errors="replace") or "another process"
        if error.errno not in _NO_LOCKS:
            os.close(file)
            raise
    return ""


def _same(file: int, path: Path) -> bool:
    """Whether the file still has its name."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(file))
    except FileNotFoundError:
        return False
