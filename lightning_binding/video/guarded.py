"""Decoding where it can do no harm: a file that crashes or hangs the decoder costs a clip or a sentence, not the run.

FFmpeg is written in C: a damaged file can end the process that opens it by a signal, or keep it for ever, and neither
is an exception. So the clips of training are decoded in a process of their own, one beside each worker of the loader,
and so is the video that a user hands in. It is started by `subprocess`, since workers are daemons, which
`multiprocessing` gives no children.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import math
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lightning_binding.errors import InputError
from lightning_binding.sheltered import sheltered
from lightning_binding.video.decode import FOLDER_FPS
from lightning_binding.video.timing import VideoInfo

# An empty package stands in for this one, whose own __init__ imports torch: seconds, and memory for each worker.
PROGRAM = """
import sys, types
package = types.ModuleType("lightning_binding")
package.__path__ = [sys.argv[1]]
sys.modules["lightning_binding"] = package
from lightning_binding.video.decoder_process import main
main()
"""
START_TIMEOUT = 300.0
"""Seconds in which the process must have begun; a shared file system can be slow, and it is no file's fault."""
PATIENCE = 0.2
"""Seconds in which a process that has closed its pipe ends, and can be asked how."""


class Undecodable(InputError):
    """A video that gave no clip."""


class DecoderDied(Undecodable):
    """A video that ended the process that decoded it."""


class DecoderHung(Undecodable):
    """A video that kept the decoder for too long."""


class GuardedDecoder:
    """Reads videos in a child process, which is restarted when a file ended it or was too slow.

    The process starts with the first request. A copy in another process, such as a worker of a loader, starts its own.

    Args:
        timeout: Seconds that a clip, or a frame of a stream, may take.

    Raises:
        InputError: A timeout that is not positive.
    """

    def __init__(self, timeout: float = 30.0) -> None:
        if timeout <= 0:
            raise InputError(f"decode_timeout is {timeout}; it must be a positive number of seconds.")
        self.timeout = timeout
        self._child: _Child | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Leaves the process behind."""
        return {"timeout": self.timeout, "_child": None}

    def cut(self, path: str, position: float, frames: int, fps: float | None, **options: Any) -> Tensor:
        """A clip of a video.

        A file that ends the process is tried twice: it may have been the system that killed it, for want of memory.

        Args:
            path: A video file or a folder of frames.
            position: Where the clip begins, in [0, 1]: 0 is the first place, 1 the last that is possible.
            frames: Number of frames.
            fps: Frames a second; None: the mean rate of the video.
            **options: Further arguments of `lightning_binding.video.clip.cut`.

        Returns:
            uint8 (frames, 3, H, W) in [0, 255].

        Raises:
            Undecodable: The file cannot be read, or is too short.
            DecoderDied: It ended the process.
            DecoderHung: It took longer than the timeout.
            RuntimeError: The process cannot be started.
        """
        asked = {"position": position, "frames": frames, "fps": fps, **options}
        try:
            (answer,) = self._answers("clip", path, **asked)
        except DecoderDied:
            (answer,) = self._answers("clip", path, **asked)
        return _tensor(*answer).permute(0, 3, 1, 2)

    def probe(self, path: str, folder_fps: float = FOLDER_FPS, backend: str = "pyav") -> VideoInfo:
        """What a video says of itself; see `reader.probe`.

        Raises:
            Undecodable: The file cannot be read, ended the process, or was too slow.
        """
        ((header, _),) = self._answers("probe", path, folder_fps=folder_fps, backend=backend)
        return VideoInfo(*header["info"])

    def stream(
        self,
        path: str,
        fps: float | None = None,
        folder_fps: float = FOLDER_FPS,
        backend: str = "pyav",
        size: int | None = None,
    ) -> Iterator[Tensor]:
        """The frames of a video one after another, as they are asked for and a few ahead.

        Args:
            path: A video file or a folder of frames.
            fps: Frames a second that are wanted; None takes every frame.
            folder_fps: Frames a second, if it is a folder.
            backend: Library that decodes files: `pyav` or `torchcodec`.
            size: Shorter side of the frames in pixels; None leaves them as they are.

        Yields:
            uint8 (3, H, W) in [0, 255].

        Raises:
            Undecodable: What follows cannot be read, ended the process, or was too slow.
        """
        for answer in self._answers("stream", path, fps=fps, size=size, folder_fps=folder_fps, backend=backend):
            yield _tensor(*answer).permute(2, 0, 1).contiguous()

    def close(self) -> None:
        """Ends the process."""
        if self._child is not None and self._child.owner == os.getpid():
            self._child.kill()
        self._child = None

    def _answers(self, task: str, path: str, **options: Any) -> Iterator[tuple[dict[str, Any], bytearray]]:
        """The answers to a request: headers and contents. While they come, the process is nobody else's."""
        own = self._child is not None and self._child.owner == os.getpid()
        child, self._child = self._child if own and self._child else _Child(), None
        done = False
        try:
            child.ask({"task": task, "path": path, "timeout": self.timeout, **options})
            while not done:
                header, content = child.answer(time.monotonic() + self.timeout)
                done = task != "stream" or "error" in header or "end" in header
                if "error" in header:
                    raise Undecodable(header["error"])
                if "end" not in header:
                    yield header, content
        except TimeoutError:
            what = "clip" if task == "clip" else "frame"
            raise DecoderHung(f"{path} gave no {what} within {self.timeout:g} s.") from None
        except (EOFError, BrokenPipeError):
            raise DecoderDied(f"{path} ended the decoder process: {child.kill(PATIENCE)}.") from None
        finally:
            if done and self._child is None:
                self._child = child
            else:  # it hangs, or is left with half an answer in the pipe
                child.kill()


def _tensor(header: dict[str, Any], content: bytearray) -> Tensor:
    return torch.frombuffer(content, dtype=torch.uint8).view(header["shape"])


class _Child:
    """The process and the pipes to it."""

    def __init__(self) -> None:
        self.owner = os.getpid()
        self.end: str | None = None
        self.errors = tempfile.TemporaryFile()  # noqa: SIM115  (a pipe that nobody reads would fill up)
        package = str(Path(__file__).parents[1])
        with sheltered():
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-c", PROGRAM, package],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self.errors,
                bufsize=0,
                start_new_session=True,  # Ctrl-C is for the parent, which then closes the pipe
                env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
            )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.input, self.output = self.process.stdin, self.process.stdout
        with contextlib.suppress(OSError):  # a wide pipe takes a clip in fewer pieces
            fcntl.fcntl(self.output, fcntl.F_SETPIPE_SZ, 2**20)
        self.poll = select.poll()
        self.poll.register(self.output, select.POLLIN)
        try:
            self.answer(time.monotonic() + START_TIMEOUT)
        except (EOFError, TimeoutError):
            raise RuntimeError(f"The process that decodes videos does not start: {self.kill(PATIENCE)}.") from None

    def ask(self, request: dict[str, Any]) -> None:
        """Sends a request; raises a BrokenPipeError if the process has ended."""
        self.input.write(json.dumps(request).encode() + b"\n")

    def answer(self, deadline: float) -> tuple[dict[str, Any], bytearray]:
        """Waits for an answer: header and content.

        Raises:
            TimeoutError: There is none in time.
            EOFError: The process ended.
        """
        size = int.from_bytes(self._read(4, deadline), "big")
        header: dict[str, Any] = json.loads(self._read(size, deadline))
        return header, self._read(math.prod(header.get("shape", [0])), deadline)

    def kill(self, patience: float = 0.0) -> str:
        """Ends the process, if it does not end by itself in some seconds; how it ended, with its last words."""
        if self.end is not None:
            return self.end
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(patience)
        code = self.process.poll()
        self.process.kill()
        self.process.wait()
        self.input.close()
        self.output.close()
        words = []
        with contextlib.suppress(ValueError):  # where garbage is collected, the file may be closed first
            self.errors.seek(0)
            words = self.errors.read().decode(errors="replace").strip().splitlines()[-1:]
        self.errors.close()
        how = "it was killed" if code is None else signal.Signals(-code).name if code < 0 else f"exit status {code}"
        self.end = ": ".join([how, *words])
        return self.end

    def _read(self, count: int, deadline: float) -> bytearray:
        content = bytearray(count)
        rest = memoryview(content)
        while rest:
            if not self.poll.poll(max(0.0, 1000 * (deadline - time.monotonic()))):
                raise TimeoutError
            got = os.readv(self.output.fileno(), [rest])
            if got == 0:
                raise EOFError
            rest = rest[got:]
        return content
