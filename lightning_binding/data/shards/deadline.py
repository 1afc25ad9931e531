"""HTTP requests that end in time, whatever comes of them meanwhile.

A socket's own time-out begins anew with each byte: a server that sends its headers a letter at a time holds a reader
for hours. Here a clock beside the request shuts its connections down, which whoever reads from them sees at once.
"""

from __future__ import annotations

import http.client
import socket
import threading
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Any


class Deadline:
    """A context in which requests are made that a clock ends.

    Args:
        seconds: Until it does.
    """

    def __init__(self, seconds: float) -> None:
        self.passed = False
        self._sockets: list[socket.socket] = []
        self._lock = threading.Lock()
        self._clock = self._start(seconds)

    def __enter__(self) -> Deadline:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Stops the clock.

        Raises:
            TimeoutError: In place of whatever the connection raised when the clock shut it down.
        """
        with self._lock:
            self._clock.cancel()
            for each in self._sockets:
                each.close()
            self._sockets.clear()
        if self.passed and isinstance(error, OSError | http.client.HTTPException):
            raise TimeoutError("the server takes too long") from error

    def extend(self, seconds: float) -> None:
        """Begins again, with so many seconds from now."""
        self._clock.cancel()
        self._clock = self._start(seconds)

    def open(self, url: str, timeout: float) -> Any:
        """As `urllib.request.urlopen`, of HTTP alone; what else it redirects to is refused."""
        opener = urllib.request.OpenerDirector()
        for handler in (_PlainHandler(self), _SecureHandler(self), *(kind() for kind in _HANDLERS)):
            opener.add_handler(handler)
        return opener.open(url, timeout=timeout)

    def watch(self, connection: socket.socket) -> None:
        """Takes a connection that is to be shut down in the end; a copy, as TLS wraps what it is given."""
        with self._lock:
            self._sockets.append(connection.dup())
        if self.passed:
            self._shut()

    def _start(self, seconds: float) -> threading.Timer:
        clock = threading.Timer(seconds, self._shut)
        clock.daemon = True
        clock.start()
        return clock

    def _shut(self) -> None:
        self.passed = True
        with self._lock:
            for each in self._sockets:
                with suppress(OSError):  # the other side was faster
                    each.shutdown(socket.SHUT_RDWR)


_HANDLERS: tuple[Callable[[], urllib.request.BaseHandler], ...] = (
    urllib.request.ProxyHandler,
    urllib.request.UnknownHandler,
    urllib.request.HTTPDefaultErrorHandler,
    urllib.request.HTTPRedirectHandler,
    urllib.request.HTTPErrorProcessor,
)


class _Plain(http.client.HTTPConnection):
    """Tells of its connection before a byte of it is read, be it of a proxy that is to connect it further."""

    deadline: Deadline

    def connect(self) -> None:
        create = self._create_connection  # type: ignore[has-type]

        def watched(*args: Any) -> socket.socket:
            made: socket.socket = create(*args)
            self.deadline.watch(made)
            return made

        self._create_connection = watched
        super().connect()


class _Secure(http.client.HTTPSConnection, _Plain):
    """Its `connect` begins with that of `_Plain`, so that the handshake is watched as well."""


class _Watching(urllib.request.AbstractHTTPHandler):
    """Has the connections of its kind watched."""

    kind: type[_Plain] = _Plain

    def __init__(self, deadline: Deadline) -> None:
        super().__init__()
        self.deadline = deadline

    def connection(self, host: str, **options: Any) -> _Plain:
        """A connection that is not open yet."""
        made = self.kind(host, **options)
        made.deadline = self.deadline
        return made


class _PlainHandler(_Watching):
    http_request = urllib.request.AbstractHTTPHandler.do_request_

    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(self.connection, req)


class _SecureHandler(_Watching):
    kind = _Secure
    https_request = urllib.request.AbstractHTTPHandler.do_request_

    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(self.connection, req)
