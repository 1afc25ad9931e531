"""Masks of object ids as pictures: indexed PNGs in the palette of DAVIS, which is that of Pascal VOC."""

import io
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from lightning_binding.errors import InputError
from lightning_binding.limits import picture as open_picture


def palette() -> np.ndarray:
    """The 256 colours of Pascal VOC, uint8 (256, 3): black, dark red, dark green, olive, dark blue and so on.

    The bits of an id, three at a time, are the highest bits of red, green and blue.
    """
    ids = np.arange(256)
    colours = np.zeros((256, 3), np.uint8)
    for bit in range(8):
        for channel in range(3):
            colours[:, channel] |= ((ids >> (3 * bit + channel) & 1) << (7 - bit)).astype(np.uint8)
    return colours


PALETTE = palette()


def read_mask(path: str | Path) -> Tensor:
    """Reads a mask of ids.

    Args:
        path: An indexed PNG (its indices are the ids), a grey picture (its values are), or a picture whose colours are
            all of the palette, as an indexed PNG becomes when a program converts it to RGB.

    Returns:
        Ids, uint8 (H, W).

    Raises:
        InputError: If the file is missing or damaged, or has colours that are no ids.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"there is no mask {path}; expected an indexed PNG of object ids.")
    with open_picture(path) as opened:
        picture: Image.Image = opened.copy()
        rgb = picture if picture.mode in ("P", "L", "1") else picture.convert("RGB")
    if picture.mode in ("P", "L", "1"):
        return torch.from_numpy(
            np.array(picture if picture.mode != "1" else picture.convert("L").point(bool), np.uint8)
        )
    colours, ids = np.unique(np.array(rgb).reshape(-1, 3), axis=0, return_inverse=True)
    # Of 257 colours one is not in the palette: a photograph need not be compared whole, which would take gigabytes.
    colours = colours[: len(PALETTE) + 1]
    distance = np.abs(colours[:, None].astype(int) - PALETTE).sum(-1)
    if distance.min(1).any():
        wrong = tuple(int(value) for value in colours[distance.min(1) > 0][0])
        raise InputError(
            f"{path} is a colour picture ({picture.mode}) with the colour {wrong}, which is not in the palette of "
            "DAVIS: a mask must be an indexed PNG (mode P), whose values are object ids."
        )
    return torch.from_numpy(distance.argmin(1).astype(np.uint8)[ids].reshape(picture.height, picture.width))


def encode_mask(mask: Tensor) -> bytes:
    """A mask of ids, uint8 (H, W), as an indexed PNG in the palette."""
    picture = Image.fromarray(mask.cpu().numpy(), "P")
    picture.putpalette(PALETTE.tobytes())
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def write_mask(path: str | Path, mask: Tensor) -> Path:
    """Writes a mask of ids, uint8 (H, W), as an indexed PNG; folders are made.

    Raises:
        InputError: If the mask is not uint8 (H, W).
    """
    if mask.dtype != torch.uint8 or mask.ndim != 2:
        raise InputError(f"a mask is uint8 (H, W), not {mask.dtype} {tuple(mask.shape)}.")
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode_mask(mask))
    return path


def overlay(frame: Tensor, mask: Tensor, opacity: float = 0.5) -> Tensor:
    """A frame with its objects tinted in the colours of the palette, outlines opaque.

    Args:
        frame: uint8 (3, H, W).
        mask: Ids, uint8 (H, W); 0 leaves the frame as it is.
        opacity: Of the tint, in [0, 1].

    Returns:
        uint8 (3, H, W).
    """
    colour = torch.from_numpy(PALETTE)[mask.cpu().long()].permute(2, 0, 1).float()
    edge = torch.zeros_like(mask, dtype=torch.bool)
    edge[:-1] |= mask[:-1] != mask[1:]
    edge[:, :-1] |= mask[:, :-1] != mask[:, 1:]
    weight = torch.where(edge.cpu(), 1.0, opacity) * (mask.cpu() > 0)
    return (frame.cpu() * (1 - weight) + colour * weight).round().to(torch.uint8)
