"""Doing again what may fail for a while, and taking only what the index says."""

from __future__ import annotations

import hashlib
import http.client
import os
import time
from collections.abc import Callable, Iterator
from typing import IO, Any, TypeVar

from lightning_binding.data.shards.index import ChunkInfo
from lightning_binding.errors import InputError

T = TypeVar("T")

FIRST_WAIT = 0.5
"""Seconds before the second attempt; doubled each time, up to a minute."""


class Altered(Exception):
    """What came is not what the index says."""


def write_checked(blocks: Iterator[bytes], info: ChunkInfo, file: IO[bytes]) -> None:
    """Writes what comes, and compares it with the index.

    Raises:
        Altered: Its length or its checksum is another.
        InputError: The file cannot be written.
    """
    digest, came = hashlib.sha256(), 0
    file.seek(0)
    for block in blocks:
        digest.update(block)
        came += len(block)
        if came > info.bytes:
            break
        _write(file, file.write, block)
    if came != info.bytes:
        raise Altered(f"{came} bytes came, where the index says {info.bytes}")
    if info.sha256 not in (None, digest.hexdigest()):
        raise Altered("its checksum is not that of the index")
    _write(file, file.flush)
    _write(file, os.fsync, file.fileno())


def _write(file: IO[bytes], function: Callable[..., Any], *args: Any) -> None:
    try:
        function(*args)
    except OSError as error:
        raise InputError(
            f"{file.name} cannot be written ({error.strerror}): make room, or give another cache or a smaller cache_gb."
        ) from error


def attempt(once: Callable[[], T], what: str, retries: int) -> T:
    """Does something that may fail for a while, and waits longer before each attempt.

    Raises:
        InputError: All attempts failed.
    """
    for number in range(retries + 1):
        try:
            return once()
        except (OSError, http.client.HTTPException, Altered) as error:
            failed = error
        if number < retries:
            time.sleep(min(60.0, FIRST_WAIT * 2**number))
    reason = " ".join(f"{type(failed).__name__}: {failed}".split())
    raise InputError(
        f"{what} could not be fetched in {retries + 1} attempts; the last one ended with {reason}. Is the server well, "
        "and are the shards whole (`lightning-binding shard --out …` verifies them)?"
    ) from failed
