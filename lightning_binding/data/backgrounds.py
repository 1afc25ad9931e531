"""What lies behind moving sprites: plain colours, noise of many scales, or pieces of pictures."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

from lightning_binding.data.decode import to_rgb
from lightning_binding.data.scan import images_under
from lightning_binding.errors import InputError

Background = Callable[[np.random.Generator, int, int], Tensor]
"""Draws a background: random numbers, height and width to float32 `(3, height, width)` in [0, 255]."""


def plain(random: np.random.Generator, height: int, width: int) -> Tensor:
    """One colour everywhere, float32 `(3, height, width)` in [0, 255]."""
    colour = torch.from_numpy(random.integers(0, 256, 3).astype(np.float32))
    return colour[:, None, None].expand(3, height, width)


def texture(random: np.random.Generator, height: int, width: int) -> Tensor:
    """Coloured noise of many scales: a sum of octaves (Perlin, "An image synthesizer", 1985) under a random palette.

    How fast the octaves fade, the mean colour, the contrast, and the colours that vary together are drawn anew.

    Args:
        random: Where the numbers come from.
        height: Of the picture.
        width: Of the picture.

    Returns:
        float32 `(3, height, width)` in [0, 255].
    """
    fade = random.uniform(0.3, 0.9)
    longer = max(height, width)
    noise = torch.zeros(3, 1, 1)
    # Each octave is laid over what was there, enlarged. No cell is one pixel: it would flicker where a camera moves.
    for cells in [2**octave for octave in range(1, longer.bit_length() - 1)]:
        noise = _enlarge(noise, (-(-height * cells // longer), -(-width * cells // longer)))
        noise += torch.from_numpy(random.standard_normal(noise.shape, np.float32)) * cells**-fade
    noise = _enlarge(noise, (height, width))
    noise /= max(float(noise.numpy().std()), 1e-6)  # a reduction of torch's depends on the number of threads
    palette = torch.from_numpy(random.normal(size=(3, 3)).astype(np.float32))
    palette *= random.uniform(15, 60) / palette.norm(dim=1).mean()
    mean = torch.from_numpy(random.uniform(40, 215, 3).astype(np.float32))
    first, second, third = palette[:, :, None, None].unbind(1)
    return (first * noise[0] + second * noise[1] + third * noise[2] + mean[:, None, None]).clamp_(0, 255)


def _enlarge(noise: Tensor, size: tuple[int, int]) -> Tensor:
    return interpolate(noise[None], size, mode="bicubic", align_corners=False)[0]


class Pictures:
    """Pieces of the pictures under a folder: frames of real videos, photographs.

    Args:
        folder: Where they lie, at any depth.

    Raises:
        InputError: No such folder, or no pictures in it.
    """

    def __init__(self, folder: str) -> None:
        self.folder = os.path.abspath(os.path.expanduser(folder))
        names = images_under(self.folder) if os.path.isdir(self.folder) else []
        if not names:
            raise InputError(
                f"background is {folder!r}, which is neither {', '.join(BACKGROUNDS)} nor a folder with pictures."
            )
        self.names = np.array([os.fsencode(name) for name in names])  # one array, which worker processes share

    def __call__(self, random: np.random.Generator, height: int, width: int) -> Tensor:
        """Cut a random piece, between 0.6 and all of the largest that fits, out of a random picture, and resize it.

        A picture that cannot be read costs a warning, and the next one takes its place.

        Raises:
            InputError: None of the pictures can be read.
        """
        first, share, right, down = random.integers(len(self.names)), *random.uniform((0.6, 0, 0), 1)
        for offset in range(len(self.names)):
            path = os.path.join(self.folder, os.fsdecode(bytes(self.names[(first + offset) % len(self.names)])))
            try:
                with Image.open(path) as image:
                    image.draft(
                        None, (2 * width, 2 * height)
                    )  # lets libjpeg decode a large photograph at half its size
                    rgb = to_rgb(image)
            except Exception as error:  # Pillow raises many for bad files, and one for those that are too large
                warnings.warn(f"Skipped a broken picture, {path} ({error}).", stacklevel=2)
                continue
            scale = share * min(rgb.width / width, rgb.height / height)
            left, top = right * (rgb.width - scale * width), down * (rgb.height - scale * height)
            box = (left, top, left + scale * width, top + scale * height)
            piece = rgb.resize((width, height), Image.Resampling.BICUBIC, box)
            return torch.from_numpy(np.array(piece, np.float32).transpose(2, 0, 1).copy())
        raise InputError(f"none of the {len(self.names)} pictures under {self.folder} can be read.")


BACKGROUNDS: dict[str, Background] = {"plain": plain, "texture": texture}
"""The backgrounds that need no files, by name."""


def create_background(name: str) -> Background:
    """The background of that name, or pieces of the pictures in the folder of that name.

    Raises:
        InputError: Neither.
    """
    return BACKGROUNDS[name] if name in BACKGROUNDS else Pictures(name)
