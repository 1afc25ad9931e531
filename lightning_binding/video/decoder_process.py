"""The decoder process: answers requests until its input ends. `guarded` starts it, without torch.

A request is a line of JSON: the name of a `task`, its arguments, and `timeout`. An answer is the length of a header in
four bytes, the header in JSON, and the bytes of a clip or a frame if the header has a `shape`. A stream is answered by
its frames one after another, then `end`; whatever fails, by `error`, with which the answers to a request end.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import resource
import signal
import sys
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

import numpy as np

from lightning_binding.errors import InputError
from lightning_binding.video.clip import cut
from lightning_binding.video.decode import Video

Answer = tuple[dict[str, Any], memoryview | bytes]

MEMORY = 8 * 2**30
"""Bytes that a file may make the process take: a header can promise any size."""
GRACE = 5
"""Seconds after the timeout in which the parent kills the process, if it lives."""


def main() -> None:
    """Serves until the parent closes the pipe, which it does by dying too."""
    output = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not get between the answers
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    send(output, {"ready": True})
    for line in sys.stdin.buffer:
        serve(json.loads(line), output)


def serve(request: dict[str, Any], output: BinaryIO) -> None:
    """Answers one request."""
    # The parent kills what hangs. Should it be dead by then, the alarm ends the process, even inside of FFmpeg. It is
    # off while the process waits for the parent to read.
    limit = math.ceil(request.pop("timeout")) + GRACE
    answers = answered(**request)
    signal.alarm(limit)
    for header, content in answers:
        signal.alarm(0)
        send(output, header, content)
        signal.alarm(limit)
    signal.alarm(0)


def answered(task: str, path: str, **options: Any) -> Iterator[Answer]:
    """The answers to a request, the last of which is an error if there was one."""
    try:
        yield from TASKS[task](path, **options)
    except InputError as error:
        yield {"error": str(error)}, b""
    except Exception as error:
        yield {"error": f"{path} cannot be decoded: {type(error).__name__}: {error}."}, b""


def clip(path: str, **options: Any) -> Iterator[Answer]:
    """A clip, `(T, H, W, 3)`; arguments of `clip.cut`."""
    yield _array(cut(path, **options))


def probe(path: str, folder_fps: float, backend: str) -> Iterator[Answer]:
    """What a video says of itself."""
    yield {"info": list(Video(path, folder_fps, backend).probe())}, b""


def stream(path: str, fps: float | None, size: int | None, folder_fps: float, backend: str) -> Iterator[Answer]:
    """All frames, `(H, W, 3)` each, or those of a rate."""
    for frame in Video(path, folder_fps, backend).stream(fps, size, 0.0):
        yield _array(frame.pixels())
    yield {"end": True}, b""


TASKS: dict[str, Callable[..., Iterator[Answer]]] = {"clip": clip, "probe": probe, "stream": stream}


def _array(pixels: Any) -> Answer:
    return {"shape": pixels.shape}, np.ascontiguousarray(pixels).data.cast("B")


def send(output: BinaryIO, header: dict[str, Any], content: memoryview | bytes = b"") -> None:
    """Writes an answer."""
    text = json.dumps(header).encode()
    output.write(len(text).to_bytes(4, "big") + text)
    output.write(content)
    output.flush()
