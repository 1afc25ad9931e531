"""A clip at a random place of a video whose length is learnt when it is opened. Imports no torch."""

from __future__ import annotations

import numpy as np

from lightning_binding.errors import InputError
from lightning_binding.video.decode import FOLDER_FPS, Video
from lightning_binding.video.timing import Pixels


def cut(
    path: str,
    position: float,
    frames: int,
    fps: float | None,
    size: int | None = None,
    max_held: float = 0.5,
    folder_fps: float = FOLDER_FPS,
    backend: str = "pyav",
) -> Pixels:
    """Reads a clip that lies within the video, if that is long enough; else the last frame stays.

    The length is taken from the header. If the file turns out to be shorter, it is measured, and the clip is cut again.

    Args:
        path: A video file or a folder of frames.
        position: Where the clip begins, in [0, 1]: 0 is the first place, 1 the last that is possible.
        frames: Number of frames.
        fps: Frames a second; None: the mean rate of the video.
        size: Shorter side of the frames in pixels; None leaves them as they are.
        max_held: Share of the frames that may be repeats of the last one.
        folder_fps: Frames a second, if the video is a folder.
        backend: Library that decodes files: `pyav` or `torchcodec`.

    Returns:
        uint8 (frames, H, W, 3) in [0, 255].

    Raises:
        InputError: It cannot be read, or is too short.
    """
    video = Video(path, folder_fps, backend, threads=1)  # there is one of these for each worker
    info = video.probe()
    rate = fps or info.fps
    span = frames / rate
    length = info.duration
    for attempt in range(2):
        start = position * max(0.0, length - span)
        found = video.at([start + index / rate for index in range(frames)], size)
        if frames - len(found) <= max_held * frames and found:
            return np.stack(found + found[-1:] * (frames - len(found)))
        if attempt == 0:
            length = video.measure()
    raise InputError(
        f"{path} is {length:.2f} s long; a clip of {frames} frames at {rate:g} fps takes {span:.2f} s, and the last "
        f"frame may fill no more than a share of {max_held:g} of it (max_held)."
    )
