"""Which frame is shown at which time: the one place where times become frames."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]

TOLERANCE = 6e-4
"""Seconds by which a frame may come too late for a time. Matroska rounds the times of its frames to milliseconds."""


class VideoInfo(NamedTuple):
    """What is known of a video before it is decoded.

    Attributes:
        width: In pixels, as shown.
        height: In pixels, as shown.
        fps: Mean number of frames a second.
        duration: In seconds.
        frames_estimate: Number of frames; files are not always right about it.
    """

    width: int
    height: int
    fps: float
    duration: float
    frames_estimate: int


class TimedFrame(NamedTuple):
    """A frame and when it is shown.

    Attributes:
        time: From when, in seconds after the first frame.
        end: Until when at most; the next frame may come earlier.
        pixels: Gives uint8 `(H, W, 3)` in [0, 255], upright. Only frames that are wanted are converted.
    """

    time: float
    end: float
    pixels: Callable[[], Pixels]


def shown(frames: Iterable[TimedFrame], times: Iterable[float]) -> Iterator[TimedFrame]:
    """The frame shown at each time: the last whose own time is not after it, whatever the rate and if it varies.

    Before the first frame it is the first one. At a time after the end of the last frame, this ends.

    Args:
        frames: In the order in which they are shown.
        times: In seconds, not decreasing; may be endless.
    """
    wanted = iter(times)
    time = next(wanted, None)
    current: TimedFrame | None = None
    for following in frames:
        while current is not None and time is not None and time < following.time - TOLERANCE:
            yield current
            time = next(wanted, None)
        if time is None:
            return
        current = following
    while current is not None and time is not None and time < current.end - TOLERANCE:
        yield current
        time = next(wanted, None)


def since(frames: Iterable[TimedFrame], start: float) -> Iterator[TimedFrame]:
    """All frames from the one that is shown at a time, in seconds."""
    current: TimedFrame | None = None
    for following in frames:
        if current is not None and start < following.time - TOLERANCE:
            yield current
        current = following
    if current is not None and start < current.end - TOLERANCE:
        yield current
