"""Rooms in the dark: the goal is not seen, has to be found in one episode, and remembered in the next."""

from __future__ import annotations

import numpy as np
from gymnasium import spaces

from lightning_binding.carml.worlds.arrays import Array, Arrays, ArrayWorld
from lightning_binding.carml.worlds.drawing import AGENT, GOAL, cells, disc, rectangle

MOVES = np.array([(0, 0), (-1, 0), (1, 0), (0, -1), (0, 1)])  # stay, up, down, left, right
SIDE = 20  # of a cell in pictures


class DarkRoom(ArrayWorld):
    """A room of cells with a hidden goal that pays 1 for every step that ends on it.

    An episode begins in the middle. The observation is the row and the column, one-hot.

    Args:
        size: Cells along each side.
        episodes: Episodes of a trial, in which the goal stays.
        horizon: Steps of an episode.
    """

    def __init__(self, size: int = 9, episodes: int = 4, horizon: int = 20) -> None:
        super().__init__(episodes, horizon)
        self.size = size
        self.observation_space = spaces.Box(0, 1, (2 * size,), np.float32)
        self.action_space = spaces.Discrete(len(MOVES))

    def draw_tasks(self, count: int, generator: np.random.Generator) -> Arrays:
        """Goals (N, 2), anywhere but in the middle."""
        middle = self.size // 2 * (self.size + 1)
        cell = generator.integers(self.size**2 - 1, size=count)
        cell += cell >= middle
        return {"goal": np.stack([cell // self.size, cell % self.size], 1)}

    def begin(self, tasks: Arrays, generator: np.random.Generator) -> Arrays:
        """The middle."""
        return {"place": np.full((len(tasks["goal"]), 2), self.size // 2)}

    def advance(self, tasks: Arrays, state: Arrays, actions: Array, generator: np.random.Generator) -> Array:
        """Moves, unless there is a wall."""
        state["place"] = np.clip(state["place"] + MOVES[actions], 0, self.size - 1)
        return self.successes(tasks, state).astype(np.float32)

    def observe(self, tasks: Arrays, state: Arrays) -> Array:
        """Row and column, one-hot."""
        seen: Array = np.eye(self.size, dtype=np.float32)[state["place"]].reshape(len(state["place"]), -1)
        return seen

    def successes(self, tasks: Arrays, state: Arrays) -> Array:
        """Whether the episode ended on the goal."""
        found: Array = (state["place"] == tasks["goal"]).all(1)
        return found

    def positions(self, state: Arrays) -> Array:
        """Column and row in [-1, 1], the latter upwards."""
        columns, rows = state["place"].T[::-1] * 2 / (self.size - 1)
        return np.stack([columns - 1, 1 - rows], 1)

    def draw(self, tasks: Arrays, state: Arrays, index: int) -> Array:
        """The room with the goal and the agent."""
        picture = cells(self.size, self.size, SIDE)
        top, left = (int(each) * SIDE for each in tasks["goal"][index])
        rectangle(picture, top + 1, left + 1, top + SIDE, left + SIDE, GOAL)
        row, column = state["place"][index]
        disc(picture, (row + 0.5) * SIDE, (column + 0.5) * SIDE, SIDE / 3, AGENT)
        return picture


class Corridor(ArrayWorld):
    """A corridor with the goal at one of its ends, just long enough to try one in an episode.

    The best agent is right in half of the first episodes and in all of the later ones.

    Args:
        half: Steps from the middle, where episodes begin, to an end; those of an episode, too.
        episodes: Episodes of a trial.
    """

    def __init__(self, half: int = 5, episodes: int = 2) -> None:
        super().__init__(episodes, horizon=half)
        self.half = half
        self.observation_space = spaces.Box(-1, 1, (1,), np.float32)
        self.action_space = spaces.Discrete(2)

    def draw_tasks(self, count: int, generator: np.random.Generator) -> Arrays:
        """The end where the goal is, (N,)."""
        return {"goal": np.where(generator.random(count) < 0.5, -self.half, self.half)}

    def begin(self, tasks: Arrays, generator: np.random.Generator) -> Arrays:
        """The middle."""
        return {"place": np.zeros(len(tasks["goal"]), np.int64)}

    def advance(self, tasks: Arrays, state: Arrays, actions: Array, generator: np.random.Generator) -> Array:
        """Moves left or right; pays 1 at the goal."""
        state["place"] = np.clip(state["place"] + 2 * actions - 1, -self.half, self.half)
        return self.successes(tasks, state).astype(np.float32)

    def observe(self, tasks: Arrays, state: Arrays) -> Array:
        """The place, in [-1, 1]."""
        seen: Array = (state["place"][:, None] / self.half).astype(np.float32)
        return seen

    def successes(self, tasks: Arrays, state: Arrays) -> Array:
        """Whether the episode ended at the goal."""
        found: Array = state["place"] == tasks["goal"]
        return found

    def draw(self, tasks: Arrays, state: Arrays, index: int) -> Array:
        """The corridor with the goal and the agent."""
        picture = cells(1, 2 * self.half + 1, SIDE)
        left = (int(tasks["goal"][index]) + self.half) * SIDE
        rectangle(picture, 1, left + 1, SIDE, left + SIDE, GOAL)
        disc(picture, SIDE / 2, (state["place"][index] + self.half + 0.5) * SIDE, SIDE / 3, AGENT)
        return picture
