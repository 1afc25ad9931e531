"""The point world: a point that moves in a square, seen by its coordinates or in pictures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from gymnasium import spaces

from lightning_binding.carml.worlds.arrays import Array, Arrays, ArrayWorld
from lightning_binding.carml.worlds.drawing import AGENT, GOAL, LINE, canvas, disc
from lightning_binding.errors import InputError

MOVES = np.array([(0, 0), (1, 0), (-1, 0), (0, 1), (0, -1)], np.float32)  # stay, right, left, up, down
SIDE = 160  # of pictures for people


class PointWorld(ArrayWorld):
    """A point in the square [-1, 1]², which begins every episode in the middle and is to come to a goal.

    The goal is not seen: an agent finds it in the first episode of a trial by what it is paid, and goes there in the
    next. Without rewards (`rewarded: false`) it is a world to explore, whose tasks an agent has to make up.

    Args:
        episodes: Episodes of a trial, in which the goal stays.
        horizon: Steps of an episode.
        step: Length of the longest step, along each axis.
        goals: Points (x, y) that goals are drawn from, a hand-made set of tasks; None is anywhere in the square.
        reach: How near to the goal counts as there.
        dense: Pay the nearness, peak * (1 - (distance / width) ** power); otherwise the peak within reach and else 0.
        peak: What is paid at the goal.
        width: Distance from the goal at which nearness is 0.
        power: How nearness falls off: 1 like a cone, 2 like the log-density of a Gaussian.
        rewarded: Pay at all.
        discrete: Five moves, to stay and along the axes, in place of two continuous numbers.
        pictures: See pictures (3, 64, 64), uint8, in place of the coordinates.
        noise: Standard deviation of every step beside what the agent does.

    Raises:
        InputError: If a goal is not a point of the square, or a length is not positive.
    """

    extent = ((-1.0, 1.0), (-1.0, 1.0))

    def __init__(
        self,
        episodes: int = 2,
        horizon: int = 20,
        step: float = 0.12,
        goals: Sequence[Sequence[float]] | None = None,
        reach: float = 0.2,
        dense: bool = True,
        peak: float = 1.0,
        width: float = 1.0,
        power: float = 1.0,
        rewarded: bool = True,
        discrete: bool = False,
        pictures: bool = False,
        noise: float = 0.0,
    ) -> None:
        super().__init__(episodes, horizon)
        for name, value in {"step": step, "reach": reach, "peak": peak, "width": width, "power": power}.items():
            if value <= 0:
                raise InputError(f"{name} is {value}; it must be positive.")
        for goal in goals or ():
            if len(goal) != 2 or not all(-1 <= each <= 1 for each in goal):
                raise InputError(f"the goal {list(goal)} is no point (x, y) of the square from -1 to 1.")
        if goals is not None and not goals:
            raise InputError("goals is empty; give points (x, y), or null for goals anywhere.")
        self.step, self.goals, self.reach, self.noise = step, goals, reach, noise
        self.peak, self.width, self.power = peak, width, power
        self.dense, self.rewarded, self.discrete, self.pictures = dense, rewarded, discrete, pictures
        self._goals = None if goals is None else np.array(goals, np.float32)
        self.action_space = spaces.Discrete(len(MOVES)) if discrete else spaces.Box(-1, 1, (2,), np.float32)
        self.observation_space = (
            spaces.Box(0, 255, (3, 64, 64), np.uint8) if pictures else spaces.Box(-1, 1, (2,), np.float32)
        )

    def draw_tasks(self, count: int, generator: np.random.Generator) -> Arrays:
        """Goals (N, 2)."""
        if self._goals is None:
            return {"goal": generator.uniform(-1, 1, (count, 2)).astype(np.float32)}
        return {"goal": self._goals[generator.integers(len(self._goals), size=count)]}

    def begin(self, tasks: Arrays, generator: np.random.Generator) -> Arrays:
        """The middle."""
        return {"place": np.zeros((len(tasks["goal"]), 2), np.float32)}

    def advance(self, tasks: Arrays, state: Arrays, actions: Array, generator: np.random.Generator) -> Array:
        """Moves, up to the walls."""
        moves = MOVES[actions] if self.discrete else np.clip(actions, -1, 1)
        place = state["place"] + self.step * moves
        if self.noise:
            place += self.noise * generator.standard_normal(place.shape, dtype=np.float32)
        state["place"] = np.clip(place, -1, 1, dtype=np.float32)
        if not self.rewarded:
            return np.zeros(len(place), np.float32)
        distance = self._distance(tasks, state)
        nearness = 1 - (distance / self.width) ** self.power if self.dense else distance < self.reach
        rewards: Array = (self.peak * nearness).astype(np.float32)
        return rewards

    def _distance(self, tasks: Arrays, state: Arrays) -> Array:
        apart = state["place"] - tasks["goal"]
        distance: Array = np.hypot(apart[:, 0], apart[:, 1])
        return distance

    def observe(self, tasks: Arrays, state: Arrays) -> Array:
        """The coordinates (N, 2), or pictures."""
        return point_pictures(state["place"]) if self.pictures else state["place"].copy()

    def successes(self, tasks: Arrays, state: Arrays) -> Array:
        """Whether the episode ended within reach of the goal."""
        found: Array = self._distance(tasks, state) < self.reach
        return found

    def positions(self, state: Arrays) -> Array:
        """The coordinates."""
        places: Array = state["place"].copy()
        return places

    def draw(self, tasks: Arrays, state: Arrays, index: int) -> Array:
        """The square with the goal, as large as its reach, and the point."""
        picture = canvas(SIDE, SIDE)
        picture[[0, -1]] = LINE
        picture[:, [0, -1]] = LINE
        goal, place = ((each[index] * [1, -1] + 1) * (SIDE - 1) / 2 for each in (tasks["goal"], state["place"]))
        disc(picture, goal[1], goal[0], self.reach * SIDE / 2, GOAL)
        disc(picture, place[1], place[0], SIDE / 30, AGENT)
        return picture


PIXELS, MARGIN, PATCH = 64, 1.1, 13  # of a picture; its side goes from -MARGIN to MARGIN; side of what a point covers
_AXIS = np.linspace(-MARGIN, MARGIN, PIXELS, dtype=np.float32)
_COLOUR = np.array([40, 80, 220], np.float32)[:, None, None]
_FLOOR = np.stack(  # a floor whose colours tell the place
    [
        np.broadcast_to(150 + 70 * _AXIS / MARGIN, (PIXELS, PIXELS)),
        np.broadcast_to(150 - 70 * _AXIS[:, None] / MARGIN, (PIXELS, PIXELS)),
        np.full((PIXELS, PIXELS), 120, np.float32),
    ]
).astype(np.uint8)


def point_pictures(places: Array) -> Array:
    """Pictures of points on the floor of the square, seen from above.

    Args:
        places: (N, 2), x to the right and y upwards, in [-1, 1].

    Returns:
        uint8 (N, 3, 64, 64).
    """
    pictures = np.broadcast_to(_FLOOR, (len(places), *_FLOOR.shape)).copy()
    marks, windows = [], []
    for centre in (-places[:, 1], places[:, 0]):  # rows, columns
        nearest = np.rint((centre + MARGIN) * (PIXELS - 1) / (2 * MARGIN)).astype(np.int64)
        window = np.clip(nearest - PATCH // 2, 0, PIXELS - PATCH)[:, None] + np.arange(PATCH)
        marks.append(np.exp(-(((_AXIS[window] - centre[:, None]) / 0.08) ** 2)))
        windows.append(window)
    share = marks[0][:, None, :, None] * marks[1][:, None, None, :]
    where = (np.arange(len(places))[:, None, None], slice(None), windows[0][:, :, None], windows[1][:, None, :])
    floor = pictures[where].transpose(0, 3, 1, 2)  # what is indexed comes first, the channels last
    pictures[where] = (floor + share * (_COLOUR - floor)).astype(np.uint8).transpose(0, 2, 3, 1)
    return pictures
