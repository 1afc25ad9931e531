"""Tabular MDPs whose rewards and transitions are new in every trial (Duan et al., 2016, section 3.2)."""

from __future__ import annotations

import numpy as np
from gymnasium import spaces

from lightning_binding.carml.worlds.arrays import Array, Arrays, ArrayWorld
from lightning_binding.carml.worlds.drawing import AGENT, GOAL, cells, disc, rectangle

SIDE = 24  # of a cell in pictures


class TabularMDP(ArrayWorld):
    """Mean rewards from N(1, 1) with unit noise, transitions from a flat Dirichlet; episodes begin in state 0.

    Args:
        states: S.
        moves: A.
        episodes: Episodes of a trial, n.
        horizon: Steps of an episode.
    """

    def __init__(self, states: int = 10, moves: int = 5, episodes: int = 10, horizon: int = 10) -> None:
        super().__init__(episodes, horizon)
        self.states, self.moves = states, moves
        self.observation_space = spaces.Box(0, 1, (states,), np.float32)
        self.action_space = spaces.Discrete(moves)

    def draw_tasks(self, count: int, generator: np.random.Generator) -> Arrays:
        """Mean rewards (N, S, A), and cumulative transitions (N, S, A, S)."""
        steps = generator.standard_exponential((count, self.states, self.moves, self.states), dtype=np.float32)
        steps /= steps.sum(-1, keepdims=True)  # flat Dirichlet
        means = generator.normal(1, 1, (count, self.states, self.moves)).astype(np.float32)
        return {"mean": means, "cumulative": steps.cumsum(-1)}

    def begin(self, tasks: Arrays, generator: np.random.Generator) -> Arrays:
        """State 0."""
        return {"place": np.zeros(len(tasks["mean"]), np.int64)}

    def advance(self, tasks: Arrays, state: Arrays, actions: Array, generator: np.random.Generator) -> Array:
        """Pays the mean of state and action with noise, and moves."""
        rows, place = np.arange(len(actions)), state["place"]
        noise = generator.standard_normal(len(actions), dtype=np.float32)
        rewards: Array = tasks["mean"][rows, place, actions] + noise
        thresholds = tasks["cumulative"][rows, place, actions]
        drawn = generator.random((len(actions), 1), dtype=np.float32)
        state["place"] = np.minimum((thresholds < drawn).sum(-1), self.states - 1)
        return rewards

    def observe(self, tasks: Arrays, state: Arrays) -> Array:
        """The state, one-hot."""
        return np.eye(self.states, dtype=np.float32)[state["place"]]

    def draw(self, tasks: Arrays, state: Arrays, index: int) -> Array:
        """States as columns and actions as rows, brighter where the mean reward is; a disc below the state."""
        picture = cells(self.moves + 1, self.states, SIDE)
        means = tasks["mean"][index]
        shades = (means - means.min()) / (means.max() - means.min())
        for place in range(self.states):
            for move in range(self.moves):
                red, green, blue = (round(255 + (part - 255) * float(shades[place, move])) for part in GOAL)
                top, left = move * SIDE, place * SIDE
                rectangle(picture, top + 1, left + 1, top + SIDE, left + SIDE, (red, green, blue))
        disc(picture, (self.moves + 0.5) * SIDE, (state["place"][index] + 0.5) * SIDE, SIDE / 3, AGENT)
        return picture
