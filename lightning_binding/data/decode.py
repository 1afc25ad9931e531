"""One image file as a square of RGB bytes."""

from __future__ import annotations

import os
from typing import IO, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps


class Decoder(NamedTuple):
    """How files become images: the largest centre square, resized by Pillow's bicubic, which is antialiased.

    This is what ADM and the models after it do to ImageNet (Dhariwal and Nichol, 2021, `center_crop_arr`), but for its
    halving by boxes before the bicubic.
    """

    size: int
    """Height and width of the result."""
    background: tuple[int, int, int] = (255, 255, 255)
    """The colour behind transparent pixels."""
    draft: bool = True
    """Let libjpeg decode at the smallest eighth of the size that leaves twice `size`: several times faster."""
    exif_orientation: bool = False
    """Turn photographs upright by their EXIF data."""

    def __call__(self, path: str | os.PathLike[str] | IO[bytes]) -> npt.NDArray[np.uint8]:
        """Read a file, or bytes that are opened as one.

        Returns:
            `(3, size, size)` uint8 in [0, 255].

        Raises:
            OSError: And others that Pillow raises for a file that it cannot read to its end.
        """
        with Image.open(path) as image:
            width = image.width
            if self.draft and image.format == "JPEG":
                image.draft(None, (2 * self.size, 2 * self.size))
            image.load()
            upright = ImageOps.exif_transpose(image) if self.exif_orientation else image
            rgb = to_rgb(upright, self.background)
            reduced = image.width != width
        side = min(rgb.size)
        size = (self.size, self.size)
        if reduced:
            # At a small scale half a pixel is a visible shift, so the crop is cut between pixels.
            left, top = (rgb.width - side) / 2, (rgb.height - side) / 2
            square = rgb.resize(size, Image.Resampling.BICUBIC, (left, top, left + side, top + side))
        else:
            # Cropping is a step of its own: with `box`, the filter would see pixels beyond the edges of the box.
            left, top = (rgb.width - side) // 2, (rgb.height - side) // 2
            square = rgb.crop((left, top, left + side, top + side)).resize(size, Image.Resampling.BICUBIC)
        return np.array(square).transpose(2, 0, 1)


def to_rgb(image: Image.Image, background: tuple[int, int, int] = (255, 255, 255)) -> Image.Image:
    """Convert any mode to RGB: grey, palette, CMYK, 16 bits, and alpha, which is laid over the background.

    Args:
        image: Of any mode.
        background: Red, green and blue in [0, 255].
    """
    if image.mode.startswith("I"):
        # Pillow's own conversion clips at 255. Files in this mode hold 16 bits.
        wide = np.asarray(image).astype(np.float64)
        return Image.fromarray((wide.clip(0, 65535) / 257).round().astype(np.uint8)).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        over = Image.new("RGBA", image.size, (*background, 255))
        return Image.alpha_composite(over, image.convert("RGBA")).convert("RGB")
    return image.convert("RGB")
