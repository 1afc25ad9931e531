"""A world whose ranks differ, for runs on two of them."""

from typing import Any

import gymnasium
import numpy as np
import torch.distributed as dist
from gymnasium import spaces

from lightning_binding.carml.worlds.envs import EnvWorld


class Uneven(gymnasium.Env[Any, Any]):
    """Pays the same at every step; raises at once if it is told to."""

    observation_space, action_space = spaces.Box(0, 1, (1,), np.float32), spaces.Discrete(2)

    def __init__(self, pays: float, raises: bool) -> None:
        self.pays, self.raises = pays, raises

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        return np.zeros(1, np.float32), {}

    def step(self, action: Any) -> Any:
        if self.raises:
            raise RuntimeError("no more fuel")
        return np.zeros(1, np.float32), self.pays, False, False, {}


class UnevenWorld(EnvWorld):
    """On rank 0 a step pays 1; on rank 1 it pays 3, and the first trial of the second environment breaks."""

    observation_space, action_space = Uneven.observation_space, Uneven.action_space

    def __init__(self) -> None:
        super().__init__(episodes=1, horizon=4)
        self.made = 0

    def make_one(self) -> Uneven:
        self.made += 1
        rank = dist.get_rank()
        return Uneven(1.0 + 2 * rank, rank == 1 and self.made == 2)
