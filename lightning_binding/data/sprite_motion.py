"""How sprites move: smooth curved paths that bounce off the edges of the frame, turning, growing and shrinking."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from lightning_binding.errors import InputError

CURVE = 6.0
"""Most degrees by which the direction of a path turns from one frame to the next."""


class Motion(NamedTuple):
    """What is drawn for each sprite, as ranges; lengths are shares of the frame's shorter side.

    Attributes:
        sprite_size: Side of the square that holds a sprite; a sprite that grows or shrinks stays in this range.
        speed: Way from one frame to the next.
        spin: Degrees from one frame to the next, either way round.
        zoom: Growth from one frame to the next, 0.02 is 2 %; either way.
    """

    sprite_size: tuple[float, float] = (0.25, 0.5)
    speed: tuple[float, float] = (0.01, 0.04)
    spin: tuple[float, float] = (0.0, 8.0)
    zoom: tuple[float, float] = (0.0, 0.03)

    def check(self) -> None:
        """Look at the ranges.

        Raises:
            InputError: A range that is negative or upside down, or sprites without a size.
        """
        for name, (low, high) in self._asdict().items():
            if not 0 <= low <= high:
                raise InputError(f"{name} is [{low}, {high}]; it must be a range, 0 <= low <= high.")
        if self.sprite_size[0] == 0:
            raise InputError("sprite_size begins at 0; a sprite must be larger than nothing.")


class Tracks(NamedTuple):
    """Where each of K sprites is in each of T frames, float64 `(K, T)`.

    Attributes:
        x: Of the centre, in pixels from the left edge; the centre stays in the frame.
        y: Of the centre, in pixels from the upper edge.
        angle: In radians, clockwise on the screen.
        side: Of the square, in pixels.
    """

    x: npt.NDArray[np.float64]
    y: npt.NDArray[np.float64]
    angle: npt.NDArray[np.float64]
    side: npt.NDArray[np.float64]


def fold(value: npt.NDArray[np.float64], low: float, high: float) -> npt.NDArray[np.float64]:
    """Bounce between two walls: a triangle wave, which never moves further in a step than its argument."""
    span = high - low
    if span <= 0:
        return np.full_like(value, low)
    wave = (value - low) % (2 * span)
    return low + np.minimum(wave, 2 * span - wave)


def draw_path(
    random: np.random.Generator, count: int, frames: int, speed: tuple[float, float]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Curves of constant speed that begin at 0.

    Args:
        random: Where the numbers come from.
        count: Number of curves.
        frames: Points on each.
        speed: Range of the way from one point to the next.

    Returns:
        x and y, `(count, frames)`.
    """
    curve = np.radians(random.uniform(-CURVE, CURVE, (count, 1)))
    direction = random.uniform(0, 2 * np.pi, (count, 1)) + curve * np.arange(1, frames)
    step = random.uniform(*speed, (count, 1))
    start = np.zeros((count, 1))
    x = np.cumsum(np.concatenate([start, step * np.cos(direction)], 1), 1)
    y = np.cumsum(np.concatenate([start, step * np.sin(direction)], 1), 1)
    return x, y


def draw_tracks(
    random: np.random.Generator, count: int, frames: int, height: int, width: int, motion: Motion
) -> Tracks:
    """Draw the motion of `count` sprites through `frames` frames of `height` by `width` pixels."""
    unit = min(height, width)
    time = np.arange(frames)
    x, y = draw_path(random, count, frames, (motion.speed[0] * unit, motion.speed[1] * unit))
    x = fold(x + random.uniform(0, width, (count, 1)), 0, width)
    y = fold(y + random.uniform(0, height, (count, 1)), 0, height)
    turn = np.radians(random.uniform(*motion.spin, (count, 1))) * random.choice([-1, 1], (count, 1))
    angle = turn * (time + random.uniform(-10, 10, (count, 1)))  # in the midst of its turn; upright where none turns
    low, high = np.log(motion.sprite_size)
    growth = np.log1p(random.uniform(*motion.zoom, (count, 1))) * random.choice([-1, 1], (count, 1))
    side = unit * np.exp(fold(random.uniform(low, high, (count, 1)) + growth * time, low, high))
    return Tracks(x, y, angle, side)
