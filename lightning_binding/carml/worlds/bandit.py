"""Bandits: a trial of pulls of arms whose payoffs are new in every trial."""

from __future__ import annotations

import numpy as np
from gymnasium import spaces

from lightning_binding.carml.worlds.arrays import Array, Arrays, ArrayWorld
from lightning_binding.carml.worlds.drawing import AGENT, GOAL, PAID, canvas, disc, rectangle
from lightning_binding.errors import InputError

SIDE = 32  # of an arm in pictures


class Bandit(ArrayWorld):
    """Arms that pay 0 or 1; a trial is one episode, and there is nothing to see.

    Args:
        arms: K.
        pulls: Pulls of a trial.

    Raises:
        InputError: If there are fewer than two arms.
    """

    def __init__(self, arms: int, pulls: int) -> None:
        super().__init__(episodes=1, horizon=pulls)
        if arms < 2:
            raise InputError(f"arms is {arms}; a bandit has 2 or more.")
        self.arms, self.pulls = arms, pulls
        self.observation_space = spaces.Box(0, 1, (1,), np.float32)
        self.action_space = spaces.Discrete(arms)

    def begin(self, tasks: Arrays, generator: np.random.Generator) -> Arrays:
        """Nothing was pulled."""
        count = len(tasks["chance"])
        return {"pulled": np.full(count, -1), "paid": np.zeros(count, np.float32)}

    def advance(self, tasks: Arrays, state: Arrays, actions: Array, generator: np.random.Generator) -> Array:
        """Pays 1 with the chance of the arm."""
        chance = tasks["chance"][np.arange(len(actions)), actions]
        rewards = (generator.random(len(actions)) < chance).astype(np.float32)
        state["pulled"], state["paid"] = actions, rewards
        return rewards

    def observe(self, tasks: Arrays, state: Arrays) -> Array:
        """Zeros."""
        return np.zeros((len(state["paid"]), 1), np.float32)

    def draw(self, tasks: Arrays, state: Arrays, index: int) -> Array:
        """The arms as columns as high as their chance; a disc on the one that was pulled, green where it paid."""
        picture = canvas(4 * SIDE, self.arms * SIDE)
        for arm, chance in enumerate(tasks["chance"][index]):
            top = 3 * SIDE * (1 - chance)
            rectangle(picture, top, (arm + 0.2) * SIDE, 3 * SIDE, (arm + 0.8) * SIDE, GOAL)
        pulled = int(state["pulled"][index])
        if pulled >= 0:
            colour = PAID if state["paid"][index] else AGENT
            disc(picture, 3.5 * SIDE, (pulled + 0.5) * SIDE, SIDE / 3, colour)
        return picture


class BernoulliBandit(Bandit):
    """Arms that pay 1 with chances drawn uniformly from [0, 1], as in Duan et al. (2016), section 3.1.

    Args:
        arms: K.
        pulls: Pulls of a trial, n.
    """

    def __init__(self, arms: int = 5, pulls: int = 10) -> None:
        super().__init__(arms, pulls)

    def draw_tasks(self, count: int, generator: np.random.Generator) -> Arrays:
        """Chances (N, K)."""
        return {"chance": generator.random((count, self.arms))}


class FindTheArm(Bandit):
    """One arm always pays 1, the others never do: the i-th pull of the best agent pays in min(i, K) / K of the trials.

    Args:
        arms: K.
        pulls: Pulls of a trial.
    """

    def __init__(self, arms: int = 4, pulls: int = 6) -> None:
        super().__init__(arms, pulls)

    def draw_tasks(self, count: int, generator: np.random.Generator) -> Arrays:
        """Chances (N, K), one-hot."""
        return {"chance": np.eye(self.arms)[generator.integers(self.arms, size=count)]}
