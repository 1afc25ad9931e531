"""A real HTTP server on loopback, which serves a folder and can be told to fail."""

import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class Server(ThreadingHTTPServer):
    """Serves the files under a folder.

    Each request takes the next fault of its file off the list: `500`, `404`, `stall` (after half of the body),
    `trickle` (a byte now and then), `drip` (headers without an end, a byte now and then), `ftp` (a redirection), `cut`
    (half of the body, the whole length in the header), `short` (half of the body, and so says the header), `long` (a
    body that does not end), `altered` (a bit is flipped), `drop` (no answer), or nothing.
    """

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.folder = folder
        self.faults: defaultdict[str, list[str]] = defaultdict(list)
        self.asked: Counter[str] = Counter()
        self.bytes = 0
        self.ended = threading.Event()

    @property
    def address(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        path = self.path.lstrip("/")
        self.server.asked[path] += 1
        faults = self.server.faults[path]
        fault = faults.pop(0) if faults else ""
        file = self.server.folder / path
        if fault == "drop":
            return
        if fault == "drip":
            with suppress(OSError):
                self.drip()
            return
        if fault == "ftp":
            self.send_response(302)
            self.send_header("Location", "ftp://127.0.0.1/index.json")
            self.end_headers()
            return
        if fault in ("404", "500") or not file.is_file():
            self.send_error(int(fault or 404))
            return
        body = bytearray(file.read_bytes())
        if fault == "altered":
            body[len(body) // 2] ^= 1
        self.send_response(200)
        if fault != "long":
            self.send_header("Content-Length", str(len(body) // (2 if fault == "short" else 1)))
        self.end_headers()
        with suppress(OSError):  # the client gave up
            self.body(fault, bytes(body))

    def drip(self) -> None:
        """The first line of an answer, and a header that goes on."""
        self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Long: ")
        while not self.server.ended.wait(0.05):
            self.wfile.write(b"x")

    def body(self, fault: str, body: bytes) -> None:
        """Sends it, or what the fault leaves of it."""
        half = body[: len(body) // 2]
        if fault == "stall":
            self.wfile.write(half)
            self.server.ended.wait(30)
        elif fault == "trickle":
            for byte in body:
                self.wfile.write(bytes([byte]))
                if self.server.ended.wait(0.05):
                    return
        elif fault == "long":
            while not self.server.ended.is_set():
                self.wfile.write(body)
                time.sleep(0.001)
        else:
            self.wfile.write(half if fault in ("cut", "short") else body)
        self.server.bytes += len(body)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serving(folder: Path) -> Iterator[Server]:
    """A server in a thread."""
    server = Server(folder)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.ended.set()
        server.shutdown()
        server.server_close()
        thread.join()
