"""Where an agent's rewards come from: the world, or a model that is asked at every step."""

from __future__ import annotations

from typing import Any, Protocol

import torch
from numpy.typing import NDArray
from torch import Tensor

Array = NDArray[Any]


class RewardModel(Protocol):
    """Gives the rewards of trials in place of the world.

    The agent sees its last reward at every step, so a model is asked at every step, for all environments at once. It
    draws a task for each trial when the trial begins; `Rollout.tasks` holds them.
    """

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Tasks of `count` trials that begin, int64 (count,) on the CPU; the generator is in the checkpoint."""
        ...

    def __call__(self, tasks: Tensor, observations: dict[str, Array], rewards: Array) -> Array:
        """The rewards of a step.

        Args:
            tasks: Of each environment's trial, (N,).
            observations: What the step led to, by key (`observation` where the world has no keys), (N, ...): at the
                end of an inner episode its last observation, not the first one after the reset.
            rewards: The world's own, (N,).

        Returns:
            (N,), finite.
        """
        ...
