"""Fetching chunks, over HTTP or out of a folder: again where something went wrong, and only as the index has them."""

from __future__ import annotations

import os
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import IO, Protocol

from lightning_binding.data.shards.attempts import Altered, attempt, write_checked
from lightning_binding.data.shards.index import NAME, ChunkInfo, ShardIndex, parse_index
from lightning_binding.data.shards.store import Folder
from lightning_binding.errors import InputError
from lightning_binding.limits import MOST_TEXT

SLOWEST = 64 * 2**10
"""Bytes a second; what comes slower for longer than the time-out counts as stalled."""
PASSING = {408, 425, 429, 500, 502, 503, 504}
"""Answers that may be others the next time."""
_BLOCK = 2**18


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
