"""Images with alpha over plain colours."""

from __future__ import annotations

import torch
from torch import Tensor

from lightning_binding.data.imageset import resize


def premultiply(pixels: Tensor, size: int) -> Tensor:
    """Multiply colours by alpha and resize, so that the colours of transparent pixels do not bleed.

    Args:
        pixels: `(N, 4, H, H)` uint8, straight alpha.
        size: Of the result; a divisor of `H` averages boxes, any other size is an antialiased bicubic.

    Returns:
        `(N, 4, size, size)` uint8, each colour at most alpha.
    """
    result = []
    for chunk in torch.split(pixels, 1024):  # bounds the memory of the float copy
        alpha = chunk[:, 3:].float()
        image = resize(torch.cat([chunk[:, :3].float() * alpha / 255, alpha], 1), size).round()
        result.append(torch.minimum(image, image[:, 3:]).to(torch.uint8))
    return torch.cat(result) if result else pixels.new_empty(0, 4, size, size)


def composite(premultiplied: Tensor, background: Tensor) -> Tensor:
    """Lay images over plain colours: `c + round((255 - a) b / 255)` (Porter and Duff, 1984, "over").

    Args:
        premultiplied: `(N, 4, H, W)` uint8, each colour at most alpha.
        background: `(N, 3)` uint8.

    Returns:
        `(N, 3, H, W)` uint8 in [0, 255].
    """
    # No quotient lies half-way, for 255 is odd; no sum passes 255, for colours are at most alpha.
    clear = premultiplied[:, 3:].bitwise_not().float()
    behind = (clear * (background.float() / 255)[:, :, None, None]).add_(0.5).to(torch.uint8)
    return behind.add_(premultiplied[:, :3])
