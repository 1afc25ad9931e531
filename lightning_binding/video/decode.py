"""Frames of a file or a folder as arrays, by a backend that is chosen by name. Imports no torch."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from itertools import count
from typing import NamedTuple, Protocol

import numpy as np

from lightning_binding.errors import InputError
from lightning_binding.names import did_you_mean
from lightning_binding.video import codec, folder, pyav
from lightning_binding.video.timing import Pixels, TimedFrame, VideoInfo, shown, since

FOLDER_FPS = 24.0
"""Frames a second of a folder of pictures, as in DAVIS, where nothing else is said."""


class Probe(Protocol):
    """Tells what a file says of itself."""

    def __call__(self, path: str, threads: int) -> VideoInfo:
        """See `pyav.probe`."""


class Frames(Protocol):
    """Decodes from the frame that is shown at `start`, or from an earlier one."""

    def __call__(self, path: str, start: float, size: int | None, threads: int) -> Iterator[TimedFrame]:
        """See `pyav.frames`."""


class Backend(NamedTuple):
    """A library that decodes video: functions that raise `InputError` for what cannot be read, or if it is missing."""

    probe: Probe
    frames: Frames
    load: Callable[[], object]


BACKENDS = {
    "pyav": Backend(pyav.probe, pyav.frames, pyav.import_av),
    "torchcodec": Backend(codec.probe, codec.frames, codec.import_decoder),
}


def find_backend(name: str) -> Backend:
    """The backend of a name.

    Raises:
        InputError: There is none.
    """
    if name not in BACKENDS:
        raise InputError(f"There is no backend {name!r} for video{did_you_mean(name, BACKENDS)}")
    return BACKENDS[name]


class Video:
    """A video file, or a folder of frames.

    Args:
        path: Where it is.
        folder_fps: Frames a second, if it is a folder.
        backend: Library that decodes files: `pyav` or `torchcodec`.
        threads: That decode; 0: as many as there are processors.

    Raises:
        InputError: No such file, an unknown backend, or a rate that is not positive.
    """

    def __init__(self, path: str, folder_fps: float = FOLDER_FPS, backend: str = "pyav", threads: int = 0) -> None:
        self.backend = find_backend(backend)
        if folder_fps <= 0:
            raise InputError(f"folder_fps is {folder_fps}; it must be positive.")
        if not os.path.exists(path):
            raise InputError(f"There is no video {path}; expected a file or a folder of frames.")
        self.path = path
        self.is_folder = os.path.isdir(path)
        self.folder_fps = folder_fps
        self.threads = threads

    def probe(self) -> VideoInfo:
        """Size, rate and length.

        Raises:
            InputError: It cannot be read.
        """
        if self.is_folder:
            return folder.probe(self.path, self.folder_fps)
        return self.backend.probe(self.path, self.threads)

    def frames(self, start: float, size: int | None) -> Iterator[TimedFrame]:
        """The frames from that which is shown at `start`, or from an earlier one, in the order of showing."""
        if self.is_folder:
            return folder.frames(self.path, start, size, self.folder_fps)
        return self.backend.frames(self.path, start, size, self.threads)

    def measure(self) -> float:
        """The length in seconds, by decoding all of it; for files whose headers are wrong."""
        return max(frame.end for frame in self.frames(0.0, None))

    def stream(self, fps: float | None, size: int | None, start: float) -> Iterator[TimedFrame]:
        """The frames from a time on: all, or those shown at `start`, `start + 1 / fps`, `start + 2 / fps`."""
        found = self.frames(start, size)
        return since(found, start) if fps is None else shown(found, (start + index / fps for index in count()))

    def at(self, times: list[float], size: int | None) -> list[Pixels]:
        """The frames shown at some times, each `(H, W, 3)`; fewer if the video ends before the last time.

        Raises:
            InputError: It cannot be read, or its frames change their size.
        """
        found: list[Pixels] = []
        previous: TimedFrame | None = None
        for frame in shown(self.frames(times[0], size), times):
            found.append(found[-1] if frame is previous else np.ascontiguousarray(frame.pixels()))
            previous = frame
            if found[-1].shape != found[0].shape:
                raise InputError(f"The frames of {self.path} change their size, {found[0].shape} to {found[-1].shape}.")
        return found
