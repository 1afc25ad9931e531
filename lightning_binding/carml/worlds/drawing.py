"""Small pictures of worlds for people to look at."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Colour = tuple[int, int, int]

FLOOR: Colour = (236, 238, 242)
LINE: Colour = (200, 204, 212)
AGENT: Colour = (38, 92, 200)
GOAL: Colour = (230, 150, 20)
PAID: Colour = (40, 160, 80)


def canvas(height: int, width: int, colour: Colour = FLOOR) -> Array:
    """A picture (height, width, 3) of one colour, uint8."""
    return np.full((height, width, 3), colour, np.uint8)


def rectangle(picture: Array, top: float, left: float, bottom: float, right: float, colour: Colour) -> None:
    """Fills a rectangle, in pixels."""
    picture[max(0, round(top)) : max(0, round(bottom)), max(0, round(left)) : max(0, round(right))] = colour


def disc(picture: Array, y: float, x: float, radius: float, colour: Colour) -> None:
    """Fills a disc, in pixels, with a smooth edge."""
    rows, columns = np.ogrid[: picture.shape[0], : picture.shape[1]]
    inside = np.clip(radius + 0.5 - np.hypot(rows - y, columns - x), 0, 1)[..., None]
    picture[...] = (picture * (1 - inside) + np.array(colour) * inside).astype(np.uint8)


def cells(rows: int, columns: int, side: int) -> Array:
    """A grid of cells of `side` pixels."""
    picture = canvas(rows * side, columns * side)
    picture[::side] = LINE
    picture[:, ::side] = LINE
    return picture
