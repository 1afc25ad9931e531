"""Writing videos: MP4 by PyAV, GIF by Pillow."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from lightning.pytorch.utilities import rank_zero_info
from PIL import Image
from torch import Tensor

from lightning_binding.errors import InputError
from lightning_binding.video.pyav import import_av
from lightning_binding.video.timing import Pixels

BT709 = 1  # the number of this colour space, its primaries and its transfer in H.273
LIMITED = 1  # the range of brightness that players expect


def write_video(path: str | os.PathLike[str], frames: Iterable[Tensor], fps: float) -> Path:
    """Writes a video as its name ends: `.mp4` is H.264 that every player shows, `.gif` an animation.

    The file appears when it is complete; folders are made. Frames are taken one at a time.

    Args:
        path: Where to write it.
        frames: uint8 frames (3, H, W) in [0, 255], all of one size. In an MP4, an odd side is made even by repeating
            the last row or column.
        fps: Frames a second; a GIF keeps time in hundredths of a second.

    Returns:
        The path.

    Raises:
        InputError: Another ending, no frames, frames that are not uint8 (3, H, W) of one size, a rate that is not
            positive, or PyAV is missing for an MP4.
    """
    path = Path(path)
    writers: dict[str, Callable[[Path, Iterator[Pixels], float], None]] = {".mp4": _write_mp4, ".gif": _write_gif}
    if path.suffix.lower() not in writers:
        raise InputError(f"{path} ends in {path.suffix or 'nothing'}; videos are written as .mp4 or .gif.")
    if fps <= 0:
        raise InputError(f"fps is {fps}; it must be positive.")
    pixels = _checked(frames)
    first = next(pixels, None)
    if first is None:
        raise InputError(f"There are no frames to write to {path}.")
    with _complete(path) as unfinished:
        writers[path.suffix.lower()](unfinished, chain([first], pixels), fps)
    return path


def best_ending(what: str) -> str:
    """`.mp4`, or `.gif` where PyAV is missing, which is said: what was computed is not lost for want of it.

    Args:
        what: What is written, the beginning of the sentence that the user is told.
    """
    try:
        import_av()
    except InputError as error:
        rank_zero_info(f"{what} a GIF. {error}")
        return ".gif"
    return ".mp4"


def _checked(frames: Iterable[Tensor]) -> Iterator[Pixels]:
    """Frames as arrays (H, W, 3)."""
    shape: torch.Size | None = None
    for frame in frames:
        shape = frame.shape if shape is None else shape
        if frame.dtype != torch.uint8 or frame.ndim != 3 or len(frame) != 3 or frame.shape != shape:
            raise InputError(
                f"A frame is {frame.dtype} {tuple(frame.shape)}; expected uint8 (3, H, W), all of one size"
                f"{'' if frame.shape == shape else f', that of the first, {tuple(shape)}'}."
            )
        yield frame.permute(1, 2, 0).cpu().numpy()


@contextmanager
def _complete(path: Path) -> Iterator[Path]:
    """A name to write to beside `path`, which is renamed when all went well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.stem}.unfinished{path.suffix}")
    try:
        yield unfinished
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def _write_mp4(path: Path, frames: Iterator[Pixels], fps: float) -> None:
    av = import_av()
    first = next(frames)
    bottom, right = first.shape[0] % 2, first.shape[1] % 2  # two by two pixels share a colour
    with av.open(str(path), "w", format="mp4", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(10_000), options={"crf": "18"})
        stream.width, stream.height, stream.pix_fmt = first.shape[1] + right, first.shape[0] + bottom, "yuv420p"
        context = stream.codec_context
        context.colorspace = context.color_primaries = context.color_trc = BT709
        context.color_range = LIMITED
        for pixels in chain([first], frames):
            even = np.pad(pixels, ((0, bottom), (0, right), (0, 0)), mode="edge")
            rgb = av.VideoFrame.from_ndarray(np.ascontiguousarray(even), format="rgb24")
            yuv = rgb.reformat(format="yuv420p", dst_colorspace="ITU709", dst_color_range="MPEG")
            container.mux(stream.encode(yuv))
        container.mux(stream.encode())


def _write_gif(path: Path, frames: Iterator[Pixels], fps: float) -> None:
    pictures = (Image.fromarray(np.ascontiguousarray(pixels)) for pixels in frames)
    # Browsers show what is faster than 20 ms as if it were 100 ms.
    next(pictures).save(
        path, save_all=True, append_images=pictures, duration=max(20, round(100 / fps) * 10), loop=0, format="GIF"
    )
