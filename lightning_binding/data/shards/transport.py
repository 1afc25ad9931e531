"""Fetching chunks, over HTTP or out of a folder: again where something went wrong, and only as the index has them."""

from __future__ import annotations

import hashlib
import http.client
import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from typing import IO, Any, Protocol, TypeVar

from lightning_binding.data.shards.index import NAME, ChunkInfo, ShardIndex, parse_index
from lightning_binding.data.shards.store import Folder
from lightning_binding.errors import InputError
from lightning_binding.limits import MOST_TEXT

T = TypeVar("T")

SLOWEST = 64 * 2**10
"""Bytes a second; what comes slower for longer than the time-out counts as stalled."""
PASSING = {408, 425, 429, 500, 502, 503, 504}
"""Answers that may be others the next time."""
FIRST_WAIT = 0.5
"""Seconds before the second attempt; doubled each time, up to a minute."""
_BLOCK = 2**18


class Altered(Exception):
    """What came is not what the index says."""


class Remote(Protocol):
    """Where chunks are fetched from."""

    root: str

    def index(self) -> ShardIndex:
        """What there is; errors as those of `Store.index`."""

    def fetch(self, info: ChunkInfo, file: IO[bytes]) -> None:
        """Writes a chunk into a file, from its start.

        Raises:
            InputError: It did not come whole and unaltered, in any of the attempts; or the file cannot be written.
        """


class Http:
    """Chunks on an HTTP server; proxies are those of the environment.

    Args:
        root: The address of their folder, http:// or https://.
        timeout: Seconds without a byte after which an attempt is given up.
        retries: Attempts after the first.

    Raises:
        InputError: Another protocol, or numbers that are not positive.
    """

    def __init__(self, root: str, timeout: float = 30.0, retries: int = 5) -> None:
        if not root.startswith(("http://", "https://")):
            raise InputError(f"{root} is not read; expected is a folder, or an address that begins with http(s)://.")
        if timeout <= 0 or retries < 0:
            raise InputError(f"timeout is {timeout} and retries {retries}; expected are more than 0, and 0 or more.")
        self.root, self.timeout, self.retries = root, timeout, retries

    def index(self) -> ShardIndex:
        """What the folder holds; errors as those of `Store.index`."""
        url = f"{self.root}/{NAME}"

        def read() -> str:
            content = b"".join(self._blocks(url, MOST_TEXT))
            try:
                return content.decode()
            except UnicodeDecodeError as error:
                raise Altered(f"it is no text: {error}") from error

        return parse_index(attempt(read, url, self.retries), url)

    def fetch(self, info: ChunkInfo, file: IO[bytes]) -> None:
        """Writes a chunk into a file; errors as those of `Remote.fetch`."""
        url = f"{self.root}/{info.file}"
        attempt(lambda: write_checked(self._blocks(url, info.bytes), info, file), url, self.retries)

    def _blocks(self, url: str, most: int) -> Iterator[bytes]:
        """What the server sends, piece by piece."""
        deadline = time.monotonic() + self.timeout + most / SLOWEST
        try:
            with urllib.request.urlopen(url, timeout=self.timeout) as response:
                came = 0
                while block := response.read1(_BLOCK):
                    came += len(block)
                    if came > most:
                        raise Altered(f"it is longer than {most} bytes")
                    if time.monotonic() > deadline:
                        raise TimeoutError(f"{came} bytes in {self.timeout + most / SLOWEST:.0f} s")
                    yield block
        except urllib.error.HTTPError as error:
            if error.code not in PASSING:
                raise InputError(f"{url} cannot be had: the server answers {error.code} {error.reason}.") from error
            raise


class Disk:
    """Chunks in a folder, such as one on a slow network file system, that are copied.

    Args:
        root: The folder.
        retries: Attempts after the first.
    """

    def __init__(self, root: str, retries: int = 5) -> None:
        self.root, self.retries = root, retries

    def index(self) -> ShardIndex:
        """What the folder holds; errors as those of `Store.index`."""
        return Folder(self.root).index()

    def fetch(self, info: ChunkInfo, file: IO[bytes]) -> None:
        """Writes a chunk into a file; errors as those of `Remote.fetch`."""
        path = os.path.join(self.root, info.file)

        def copy() -> None:
            with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb") as source:
                write_checked(iter(lambda: source.read(_BLOCK), b""), info, file)

        attempt(copy, path, self.retries)


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
