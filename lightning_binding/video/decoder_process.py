"""The decoder process: answers requests for clips until its input ends. `guarded` starts it, without torch.

A request is a line of JSON, the arguments of `clip.cut` and `timeout`. An answer is the length of a header in four
bytes, the header in JSON, with `shape` or `error`, and the bytes of the clip.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import resource
import signal
import sys
from typing import Any, BinaryIO

from lightning_binding.errors import InputError
from lightning_binding.video.clip import cut

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
    # The parent kills what hangs. Should it be dead by then, the alarm ends the process, even inside of FFmpeg.
    signal.alarm(math.ceil(request.pop("timeout")) + GRACE)
    try:
        clip = cut(**request)
    except InputError as error:
        send(output, {"error": str(error)})
    except Exception as error:
        send(output, {"error": f"{request['path']} cannot be decoded: {type(error).__name__}: {error}."})
    else:
        send(output, {"shape": clip.shape}, clip.data.cast("B"))
    signal.alarm(0)


def send(output: BinaryIO, header: dict[str, Any], content: memoryview | bytes = b"") -> None:
    """Writes an answer."""
    text = json.dumps(header).encode()
    output.write(len(text).to_bytes(4, "big") + text)
    output.write(content)
    output.flush()
