"""Fetching chunks, over HTTP or out of a folder: again where something went wrong, and only as the index has them."""

from __future__ import annotations

import http.client
import os
import ssl
import urllib.error
from collections.abc import Iterator
from typing import IO, Protocol

from lightning_binding.data.shards.attempts import Altered, attempt, write_checked
from lightning_binding.data.shards.deadline import Deadline
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
        timeout: Seconds without a byte, or for all headers together, after which an attempt is given up.
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
        came = 0
        try:
            with Deadline(self.timeout) as deadline, deadline.open(url, self.timeout) as response:
                deadline.extend(self.timeout + most / SLOWEST)
                while block := response.read1(_BLOCK):
                    came += len(block)
                    if came > most:
                        raise Altered(f"it is longer than {most} bytes")
                    yield block
                if deadline.passed:
                    raise TimeoutError("the server takes too long")
        except TimeoutError as error:
            raise TimeoutError(f"{error}, after {came} bytes") from error
        except urllib.error.HTTPError as error:
            if error.code not in PASSING:
                hint = " Expected is the address of the folder that holds `train` and `val`." * url.endswith(NAME)
                raise InputError(
                    f"{url} cannot be had: the server answers {error.code} {error.reason}.{hint}"
                ) from error
            raise
        except (ValueError, http.client.InvalidURL, urllib.error.URLError) as error:
            if hopeless(error):
                raise InputError(f"{url} cannot be had: {' '.join(str(error).split())}.") from error
            raise


def hopeless(error: Exception) -> bool:
    """Whether a request fails for what it is, or for the server's certificate, and so would the next time."""
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    # urllib gives words as a reason for an address that it cannot use, and an error for what went wrong on the way.
    return isinstance(reason, str | ValueError | http.client.InvalidURL | ssl.SSLCertVerificationError)


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
