"""Pictures: grids of images, and writing them."""

from pathlib import Path

import torch
from PIL import Image
from torch import Tensor


def make_grid(images: Tensor, columns: int | None = None, padding: int = 2, background: int = 255) -> Tensor:
    """Puts images in a grid, row by row.

    Args:
        images: uint8 images (N, C, H, W) in [0, 255], C = 1 or 3.
        columns: Images in a row; about square when None.
        padding: Pixels between and around the images.
        background: Value of the padding in [0, 255].

    Returns:
        uint8 tensor (C, H', W').
    """
    count, channels, height, width = images.shape
    columns = columns or max(1, round(count**0.5))
    rows = -(-count // columns)
    grid = torch.full(
        (channels, rows * (height + padding) + padding, columns * (width + padding) + padding),
        background,
        dtype=torch.uint8,
    )
    for index, image in enumerate(images.cpu()):
        top = padding + index // columns * (height + padding)
        left = padding + index % columns * (width + padding)
        grid[:, top : top + height, left : left + width] = image
    return grid


def save_png(image: Tensor, path: str | Path, scale: int = 1) -> Path:
    """Writes an image as PNG and returns its path; folders are made.

    Args:
        image: uint8 image (C, H, W) in [0, 255], C = 1 or 3.
        path: Where to write it.
        scale: Every pixel becomes a square of this side, so that small pictures can be seen.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = image.cpu().repeat_interleave(scale, dim=1).repeat_interleave(scale, dim=2)
    array = pixels.permute(1, 2, 0).numpy()
    Image.fromarray(array[..., 0] if array.shape[-1] == 1 else array).save(path)
    return path
