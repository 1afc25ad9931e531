"""Folders of frames as videos."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from functools import partial

import numpy as np
from PIL import Image, ImageOps

from lightning_binding.errors import InputError
from lightning_binding.limits import picture
from lightning_binding.video.timing import Pixels, TimedFrame, VideoInfo

ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".ppm")
ORIENTATION = 0x0112  # of EXIF; 5 to 8 lie on their side


def is_frame(name: str) -> bool:
    """Whether a file is a frame, by its name."""
    return name.lower().endswith(ENDINGS) and not name.startswith(".")


def natural(name: str) -> list[tuple[int, str]]:
    """A key that sorts names by the numbers in them: frame 2 comes before frame 10."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]


def frame_files(path: str) -> list[str]:
    """Paths of the frames in a folder, in natural order.

    Raises:
        InputError: There are none.
    """
    with os.scandir(path) as entries:
        names = sorted((entry.name for entry in entries if is_frame(entry.name)), key=natural)
    if not names:
        raise InputError(f"The folder {path} has no frames; looked for are files in {', '.join(ENDINGS)}.")
    return [os.path.join(path, name) for name in names]


def probe(path: str, fps: float) -> VideoInfo:
    """The number of frames and the size of the first one, which is not decoded.

    Args:
        path: Of the folder.
        fps: Frames a second, which pictures do not say.

    Raises:
        InputError: There are no frames, or the first cannot be read.
    """
    files = frame_files(path)
    with picture(files[0], "The frame ") as image:  # reads the header alone
        turned = image.getexif().get(ORIENTATION, 1) >= 5
        width, height = image.size[::-1] if turned else image.size
    return VideoInfo(width, height, fps, len(files) / fps, len(files))


def frames(path: str, start: float, size: int | None, fps: float) -> Iterator[TimedFrame]:
    """The frames of a folder from a time on.

    Args:
        path: Of the folder.
        start: In seconds after the first frame.
        size: Shorter side of the frames in pixels; None leaves them as they are.
        fps: Frames a second.

    Raises:
        InputError: There are no frames; when one is converted: it cannot be read.
    """
    files = frame_files(path)
    first = min(max(0, int(start * fps) - 1), len(files) - 1)
    for index in range(first, len(files)):
        yield TimedFrame(index / fps, (index + 1) / fps, partial(_read, files[index], size))


def _read(path: str, size: int | None) -> Pixels:
    with picture(path, "The frame ") as image:
        if size is not None and image.format == "JPEG":
            image.draft("RGB", (2 * size, 2 * size))
        upright = ImageOps.exif_transpose(image).convert("RGB")
    if size is not None:
        scale = size / min(upright.size)
        upright = upright.resize(
            (round(upright.width * scale), round(upright.height * scale)), Image.Resampling.BICUBIC
        )
    return np.asarray(upright)
