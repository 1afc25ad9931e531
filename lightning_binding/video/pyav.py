"""Video files by PyAV."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from lightning_binding.errors import InputError
from lightning_binding.video.timing import TOLERANCE, Pixels, TimedFrame, VideoInfo

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream


def import_av() -> Any:
    """PyAV.

    Raises:
        InputError: It is not installed.
    """
    try:
        import av
    except ImportError as error:
        raise InputError(
            "Video files need PyAV, which is not installed: pip install 'lightning-binding[video]'."
        ) from error
    return av


@contextmanager
def opened(path: str, threads: int = 0) -> Iterator[tuple[InputContainer, VideoStream]]:
    """A file and its first stream of video; what FFmpeg raises inside becomes an `InputError`.

    Args:
        path: Of the file.
        threads: That decode; 0: as many as there are processors.

    Raises:
        InputError: The file cannot be opened or decoded, or has no video.
    """
    av = import_av()
    try:
        with av.open(path, metadata_errors="replace") as container:
            pictures = av.stream.Disposition.attached_pic  # the cover of a song is no video
            streams = [stream for stream in container.streams.video if not stream.disposition & pictures]
            if not streams or streams[0].codec_context is None:
                raise InputError(f"{path} has no video; expected a file with a stream of video that can be decoded.")
            streams[0].thread_type = "AUTO" if threads != 1 else "SLICE"
            streams[0].thread_count = threads
            yield container, streams[0]
    except InputError:
        raise
    except (av.FFmpegError, OSError, ValueError) as error:
        words = getattr(error, "strerror", None) or str(error)  # FFmpeg's numbers say nothing
        if isinstance(error, av.InvalidDataError):
            words = f"it is damaged, or no video ({words})"
        raise InputError(f"{path} cannot be read as a video: {words}.") from error


def probe(path: str, threads: int = 0) -> VideoInfo:
    """What a file says of itself; size and orientation are those of its first frame, which is decoded.

    Args:
        path: Of the file.
        threads: That decode; 0: as many as there are processors.

    Raises:
        InputError: The file cannot be read, or has no frames.
    """
    with opened(path, threads) as (container, stream):
        fps = _fps(stream)
        duration = _duration(container, stream)
        first = next(container.decode(stream), None)
        if first is None:
            raise InputError(f"{path} has no frames.")
        height, width = (first.width, first.height) if first.rotation % 180 else (first.height, first.width)
        return VideoInfo(width, height, fps, duration, stream.frames or max(1, round(duration * fps)))


def frames(path: str, start: float, size: int | None, threads: int = 0) -> Iterator[TimedFrame]:
    """Decodes from the frame that is shown at `start`, or from an earlier one.

    Args:
        path: Of the file.
        start: In seconds after the first frame.
        size: Shorter side of the frames in pixels; None leaves them as they are.
        threads: That decode; 0: as many as there are processors.

    Raises:
        InputError: The file cannot be read, or has no frames.
    """
    with opened(path, threads) as (container, stream):
        scaler = _Scaler(size, threads)
        found = _decoded(container, stream, start, scaler)
        first = next(found, None)
        if start > 0 and (first is None or first.time > start + TOLERANCE):
            # The index is wrong, or the place is behind the last frame: decode all.
            container.seek(0)
            found = _decoded(container, stream, 0, scaler)
            first = next(found, None)
        if first is None:
            raise InputError(f"{path} has no frames.")
        yield from itertools.chain([first], found)


def _decoded(container: InputContainer, stream: VideoStream, start: float, scaler: _Scaler) -> Iterator[TimedFrame]:
    """The frames from the last key frame that is not after `start`."""
    base = stream.time_base
    origin = stream.start_time or 0  # files cut out of longer ones do not begin at 0
    length = 1 / _fps(stream)
    if start > 0 and base:
        container.seek(origin + int(start / base), stream=stream)
    end = 0.0
    for frame in container.decode(stream):
        ticks = frame.pts if frame.pts is not None else frame.dts
        time = end if ticks is None or not base else float((ticks - origin) * base)
        end = time + (float(frame.duration * base) if frame.duration and base else length)
        yield TimedFrame(time, end, partial(scaler, frame))


class _Scaler:
    """Turns frames upright, into RGB, and to a size; all frames share the tables that FFmpeg makes for it."""

    def __init__(self, size: int | None, threads: int) -> None:
        self.size, self.threads = size, threads
        self.reformatter = import_av().video.reformatter.VideoReformatter()

    def __call__(self, frame: VideoFrame) -> Pixels:
        scale = 1 if self.size is None else self.size / min(frame.width, frame.height)
        width, height = round(frame.width * scale), round(frame.height * scale)
        options = {"interpolation": "BICUBIC", "threads": self.threads}
        rgb = self.reformatter.reformat(frame, width, height, "rgb24", **options)
        return np.rot90(rgb.to_ndarray().astype(np.uint8, copy=False), round(frame.rotation / 90))


def _fps(stream: VideoStream) -> float:
    """Mean rate; 25 where nothing is known, as FFmpeg assumes."""
    return float(stream.average_rate or stream.guessed_rate or 25)


def _duration(container: InputContainer, stream: VideoStream) -> float:
    """In seconds; where the file does not say, the packets are counted, without being decoded."""
    base = stream.time_base
    if stream.duration and base:
        return float(stream.duration * base)
    if container.duration:
        return container.duration / 1_000_000
    ends = [packet.pts + (packet.duration or 0) for packet in container.demux(stream) if packet.pts is not None]
    container.seek(0)
    if not ends or not base:
        return 0.0
    return float((max(ends) - (stream.start_time or 0)) * base)
