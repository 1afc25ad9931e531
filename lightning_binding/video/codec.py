"""Video files by torchcodec, the extra `codec`: an alternative to PyAV. It needs an FFmpeg of the system."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
from PIL import Image

from lightning_binding.errors import InputError
from lightning_binding.video.timing import Pixels, TimedFrame, VideoInfo


def import_decoder() -> Any:
    """The `VideoDecoder` of torchcodec.

    Raises:
        InputError: torchcodec or its FFmpeg is missing.
    """
    try:
        from torchcodec.decoders import VideoDecoder
    except (ImportError, RuntimeError, OSError) as error:
        raise InputError(
            "The backend torchcodec cannot be loaded: pip install 'lightning-binding[codec]', and install FFmpeg "
            f"(apt-get install ffmpeg); or take the backend pyav. It says: {str(error).splitlines()[0]}"
        ) from error
    return VideoDecoder


def opened(path: str, threads: int = 0) -> Any:
    """A decoder of a file, with some threads; 0: as many as there are processors.

    Raises:
        InputError: torchcodec or its FFmpeg is missing, or the file cannot be opened.
    """
    decoder = import_decoder()
    try:
        return decoder(path, dimension_order="NHWC", num_ffmpeg_threads=threads)
    except (RuntimeError, ValueError, OSError) as error:
        raise InputError(f"{path} cannot be read as a video: {str(error).splitlines()[0]}.") from error


def probe(path: str, threads: int = 0) -> VideoInfo:
    """What the packets of a file say; nothing is decoded.

    Args:
        path: Of the file.
        threads: Of no use here.

    Raises:
        InputError: The file cannot be opened, or has no frames.
    """
    found = opened(path).metadata
    if not found.num_frames:
        raise InputError(f"{path} has no frames.")
    return VideoInfo(
        found.width, found.height, float(found.average_fps), float(found.duration_seconds), found.num_frames
    )


def frames(path: str, start: float, size: int | None, threads: int = 0) -> Iterator[TimedFrame]:
    """Decodes from the frame that is shown at `start`, or from the one before it.

    Args:
        path: Of the file.
        start: In seconds after the first frame.
        size: Shorter side of the frames in pixels; None leaves them as they are.
        threads: That decode; 0: as many as there are processors.

    Raises:
        InputError: The file cannot be read.
    """
    decoder = opened(path, threads)
    origin = decoder.metadata.begin_stream_seconds or 0.0
    last = decoder.metadata.end_stream_seconds
    try:
        first = 0
        if start > 0:
            at = min(origin + start, np.nextafter(last, origin))
            played = decoder.get_frame_played_at(at).pts_seconds
            first = max(0, _index(decoder, played) - 1)
        for index in range(first, len(decoder)):
            frame = decoder.get_frame_at(index)
            time = frame.pts_seconds - origin
            yield TimedFrame(time, time + frame.duration_seconds, partial(_pixels, frame.data, size))
    except (RuntimeError, ValueError, IndexError) as error:
        raise InputError(f"{path} cannot be read as a video: {str(error).splitlines()[0]}.") from error


def _index(decoder: Any, pts: float) -> int:
    """The place of the frame of a time stamp: at a constant rate the first guess, else by bisection."""

    def stamp(index: int) -> float:
        return float(decoder.get_frame_at(index).pts_seconds)

    start = decoder.metadata.begin_stream_seconds or 0.0
    guess = min(round((pts - start) * decoder.metadata.average_fps), len(decoder) - 1)
    return guess if stamp(guess) == pts else bisect_left(range(len(decoder)), pts, key=stamp)


def _pixels(data: Any, size: int | None) -> Pixels:
    pixels: Pixels = data.numpy()
    if size is None:
        return pixels
    scale = size / min(pixels.shape[:2])
    shape = (round(pixels.shape[1] * scale), round(pixels.shape[0] * scale))
    return np.asarray(Image.fromarray(pixels).resize(shape, Image.Resampling.BICUBIC))
