"""Reading videos as tensors: streams of frames, frames at given times, and what a file says of itself.

A path is a video file, or a folder of frames in the natural order of their names. Frames come upright, as the file
says that they are shown, and by their time stamps: the frame at a time is the last whose stamp is not after it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from itertools import islice, pairwise

import torch
from torch import Tensor

from lightning_binding.errors import InputError
from lightning_binding.video.decode import FOLDER_FPS, Video
from lightning_binding.video.timing import Pixels, TimedFrame, VideoInfo

__all__ = ["VideoInfo", "clip_frames", "probe", "read_clip", "read_frames"]

Path = str | os.PathLike[str]


def probe(path: Path, *, folder_fps: float = FOLDER_FPS, backend: str = "pyav") -> VideoInfo:
    """What a video says of itself: `width`, `height`, `fps`, `duration`, `frames_estimate`.

    Args:
        path: A video file or a folder of frames.
        folder_fps: Frames a second, if it is a folder.
        backend: Library that decodes files: `pyav` or `torchcodec`.

    Raises:
        InputError: It cannot be read, or PyAV is missing.
    """
    return Video(os.fspath(path), folder_fps, backend).probe()


def read_frames(
    path: Path,
    *,
    fps: float | None = None,
    size: int | None = None,
    start: float = 0.0,
    max_frames: int | None = None,
    folder_fps: float = FOLDER_FPS,
    backend: str = "pyav",
) -> Iterator[Tensor]:
    """Streams a video; a long one needs no more memory than a short one.

    Args:
        path: A video file or a folder of frames.
        fps: Frames a second that are wanted; None takes every frame.
        size: Shorter side of the frames in pixels, the longer one in proportion; None leaves them as they are.
        start: Seconds to leave out.
        max_frames: Ends after so many frames.
        folder_fps: Frames a second, if it is a folder.
        backend: Library that decodes files: `pyav` or `torchcodec`.

    Yields:
        Frames uint8 (3, H, W) in [0, 255].

    Raises:
        InputError: It cannot be read, or PyAV is missing.
    """
    _check(fps=fps, size=size, max_frames=max_frames)
    video = Video(os.fspath(path), folder_fps, backend)
    return _tensors(video.stream(fps, size, max(0.0, start)), max_frames)


def clip_frames(
    path: Path,
    times: Sequence[float],
    *,
    size: int | None = None,
    folder_fps: float = FOLDER_FPS,
    backend: str = "pyav",
) -> Tensor:
    """The frames that are shown at some times; the last frame stays after the end.

    Args:
        path: A video file or a folder of frames.
        times: In seconds after the first frame, not decreasing.
        size: Shorter side of the frames in pixels; None leaves them as they are.
        folder_fps: Frames a second, if it is a folder.
        backend: Library that decodes files: `pyav` or `torchcodec`.

    Returns:
        uint8 (T, 3, H, W) in [0, 255].

    Raises:
        InputError: It cannot be read, the first time is after the end, or the times are not in order.
    """
    if not times or any(late < early for early, late in pairwise(times)):
        raise InputError(f"times must be one or more numbers that do not decrease, not {list(times)}.")
    _check(size=size)
    found = Video(os.fspath(path), folder_fps, backend).at(list(times), size)
    if not found:
        raise InputError(f"{path} ends before {times[0]:g} s; give an earlier time.")
    found += found[-1:] * (len(times) - len(found))
    return torch.stack([_tensor(pixels) for pixels in found])


def read_clip(
    path: Path,
    start: float,
    frames: int,
    fps: float,
    *,
    size: int | None = None,
    folder_fps: float = FOLDER_FPS,
    backend: str = "pyav",
) -> Tensor:
    """The frames that are shown at `start`, `start + 1 / fps` and so on; the last frame stays after the end.

    Args:
        path: A video file or a folder of frames.
        start: Of the clip, in seconds after the first frame.
        frames: Number of frames.
        fps: Frames a second.
        size: Shorter side of the frames in pixels; None leaves them as they are.
        folder_fps: Frames a second, if it is a folder.
        backend: Library that decodes files: `pyav` or `torchcodec`.

    Returns:
        uint8 (frames, 3, H, W) in [0, 255].

    Raises:
        InputError: It cannot be read, or `start` is after its end.
    """
    _check(fps=fps, frames=frames)
    times = [start + index / fps for index in range(frames)]
    return clip_frames(path, times, size=size, folder_fps=folder_fps, backend=backend)


def _check(**positive: float | None) -> None:
    for name, value in positive.items():
        if value is not None and value <= 0:
            raise InputError(f"{name} is {value}; it must be positive.")


def _tensors(frames: Iterator[TimedFrame], most: int | None) -> Iterator[Tensor]:
    previous: TimedFrame | None = None
    tensor = torch.empty(0)
    for frame in islice(frames, most):
        tensor = tensor.clone() if frame is previous else _tensor(frame.pixels())
        previous = frame
        yield tensor


def _tensor(pixels: Pixels) -> Tensor:
    return torch.from_numpy(pixels.transpose(2, 0, 1).copy())
