"""Recording episodes of Doom: where the camera goes, and whose pixels are whose."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

UNTRACKED = frozenset({"Self", "Explosive", "Unknown"})
"""Categories that are no objects to follow: the player's own hands, shots and blasts."""
MOST_IDS = 254
"""Objects that a mask tells apart; 255 is void."""


class Game(Protocol):
    """What is used of `vizdoom.DoomGame`; its buttons are the speeds forward and sideways, and degrees of turning."""

    def set_seed(self, seed: int) -> None:
        """Choose all chances of the next episode."""

    def new_episode(self) -> None:
        """Begin again."""

    def set_action(self, action: list[float]) -> None:
        """Say how the buttons are held from now on."""

    def advance_action(self, tics: int, update_state: bool) -> None:
        """Go on for some tics, of which a second has 35, and render where they end, or not."""

    def is_episode_finished(self) -> bool:
        """Whether there is no picture any more."""

    def get_state(self) -> Any:
        """`screen_buffer` `(3, H, W)`, `labels_buffer` `(H, W)`, and `labels`, whom each value in it belongs to."""

    def close(self) -> None:
        """End the engine."""


class Recording(NamedTuple):
    """A piece of an episode: `video` uint8 `(T, 3, H, W)`, and `objects` int32 `(T, H, W)`, the game's ids plus 1."""

    video: Tensor
    objects: Tensor


def object_ids(buffer: npt.NDArray[np.uint8], labels: Sequence[Any]) -> npt.NDArray[np.int32]:
    """Replace the values of one frame's labels buffer, which change from frame to frame, by the objects' lasting ids.

    Args:
        buffer: `(H, W)`; 0 and 1 are walls, sky and floor.
        labels: Of the same frame, with `value`, `object_id` and `object_category`.

    Returns:
        `(H, W)`: `object_id + 1`, or 0 where there is nothing to follow.
    """
    table = np.zeros(256, np.int32)
    for label in labels:
        if label.object_category not in UNTRACKED:
            table[label.value] = label.object_id + 1
    return table[buffer]


def draw_walk(random: np.random.Generator, frames: int, tics: int) -> npt.NDArray[np.float64]:
    """A smooth walk that looks left and right: what the buttons are in each frame, `(frames, 3)`.

    Speeds are those of the game, about a hundredth of a room a tic at 8; a turn is in degrees a tic.
    """
    time = np.arange(frames) * tics
    period = random.uniform((60, 40, 40), (120, 80, 90))
    phase = random.uniform(0, 2 * np.pi, 3)
    strength = random.uniform((2, 0, 0.2), (8, 6, 1.0))
    offset = np.array([random.uniform(0, 6), 0, 0])  # forward rather than backward: there, things come near
    return offset + strength * np.sin(2 * np.pi * time[:, None] / period + phase)


def record(
    game: Game, random: np.random.Generator, frames: int, tics: int, warm_up: int, shrink: int = 1
) -> Recording | None:
    """Record from a new episode, which is a function of the random numbers alone.

    Args:
        game: What is played; whatever was played before leaves no trace.
        random: Chooses the episode, the walk, and how long to wait.
        frames: Length of the recording.
        tics: Of the game from one frame to the next.
        warm_up: Most frames that go by before the recording, so that not all begin at the same place.
        shrink: Colours become averages of boxes of so many pixels a side, and an id that in the middle of its box.

    Returns:
        The recording; None where the episode ended before it was complete.
    """
    game.set_seed(int(random.integers(2**31)))
    game.new_episode()
    wait = int(random.integers(warm_up + 1))
    video, objects = [], []
    for number, action in enumerate(draw_walk(random, wait + frames, tics)):
        game.set_action(action.tolist())
        game.advance_action(tics, number >= wait)  # to render what nobody sees would take most of the time
        if game.is_episode_finished():
            return None
        if number >= wait:
            state = game.get_state()
            video.append(torch.from_numpy(state.screen_buffer.copy()))
            objects.append(torch.from_numpy(object_ids(state.labels_buffer, state.labels)))
    middle = shrink // 2
    small = torch.stack(objects)[:, middle::shrink, middle::shrink]
    return Recording(_shrink(torch.stack(video), shrink), small.contiguous())


def _shrink(video: Tensor, factor: int) -> Tensor:
    if factor == 1:
        return video
    return torch.nn.functional.avg_pool2d(video.float(), factor).round_().to(torch.uint8)


def dense_ids(objects: Tensor, least_pixels: int | None = None) -> Tensor:
    """Number objects from 1, in the order of their ids.

    Args:
        objects: `(T, H, W)`, 0 is background.
        least_pixels: Count only objects that fill so many pixels of the first frame, as its mask alone is given where
            masks are propagated; None: count all. The others, and those beyond the 254th, become background.

    Returns:
        uint8 `(T, H, W)`.
    """
    known, count = torch.unique(objects if least_pixels is None else objects[0], return_counts=True)
    known = known[(known > 0) & (count >= (least_pixels or 0))][:MOST_IDS]
    table = torch.zeros(int(objects.max()) + 1, dtype=torch.uint8)
    table[known.long()] = torch.arange(1, len(known) + 1, dtype=torch.uint8)
    return table[objects.long()]
