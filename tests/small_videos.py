"""Videos of a few grey frames, encoded here: frame `i` has the brightness `10 i`, unless it is told otherwise."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from torch import Tensor

STEP = 10


def encode(
    path: Path,
    values: Sequence[int],
    times: Sequence[float] | None = None,
    fps: int = 10,
    size: tuple[int, int] = (32, 48),
    rotation: float | None = None,
    marked: bool = False,
) -> Path:
    """Writes frames of brightness `STEP * value`, at times in seconds where they are given.

    A file of rotation -90 is shown turned clockwise. In one that is marked, the top left quarter is white.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        codec = {".webm": "libvpx", ".avi": "mpeg4"}.get(path.suffix, "libx264")
        options = {"g": "6", "bf": "2"} if codec == "libx264" else {"g": "6"}
        stream = container.add_stream(codec, rate=fps, options=options)
        stream.height, stream.width = size
        stream.pix_fmt = "yuv420p"
        stream.bit_rate = 400_000
        if times is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        if rotation is not None:
            stream.set_display_rotation(rotation)
        for index, value in enumerate(values):
            pixels = np.full((*size, 3), STEP * value, np.uint8)
            if marked:
                pixels[: size[0] // 2, : size[1] // 2] = 255
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            if times is not None:
                frame.pts, frame.time_base = round(1000 * times[index]), Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def encode_audio(path: Path) -> Path:
    """Writes a second of sound without pictures."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=8000)
        for index in range(8):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1000), np.float32), format="fltp", layout="mono")
            frame.sample_rate, frame.pts = 8000, 1000 * index
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def value(frame: Tensor) -> int:
    """Which frame a picture (3, H, W) is, by its lower right corner."""
    return round(float(frame[:, -2, -2].float().mean()) / STEP)
