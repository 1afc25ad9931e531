"""The reward of the scaffold's tasks, asked at every step of a trial."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lightning_binding.carml.reward import task_reward
from lightning_binding.carml.scaffold import Scaffold
from lightning_binding.errors import InputError


class ScaffoldReward:
    """Draws a task z ~ q(z) for every trial, and pays r_z(s) of the state that each step leads to.

    Before the first fit there is one task, which pays nothing. What the world would pay is not looked at.

    Args:
        scaffold: The distribution of tasks.
        lam: Weight of the task's own likelihood in the reward, in [0, 1].
        observed: Key of what the scaffold sees in a dict of observations.
        bound: Rewards are kept between -bound and bound, in nats; None leaves them.
        scale: Factor of what is paid, so that it has the size of the rewards that are to come in transfer.

    Raises:
        InputError: If lam is outside [0, 1], or the bound is not positive.
    """

    def __init__(
        self,
        scaffold: Scaffold,
        lam: float = 0.99,
        observed: str = "observation",
        bound: float | None = None,
        scale: float = 1.0,
    ) -> None:
        if not 0 <= lam <= 1:
            raise InputError(f"lam is {lam}; it must be in [0, 1].")
        if bound is not None and not bound > 0:
            raise InputError(f"bound is {bound}; it must be positive, or null to leave rewards as they are.")
        self.scaffold, self.lam, self.observed, self.bound, self.scale = scaffold, lam, observed, bound, scale

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Tasks of `count` trials, int64 (count,); 0 before the first fit."""
        if not self.scaffold.fitted:
            return torch.zeros(count, dtype=torch.int64)
        return torch.multinomial(self.scaffold.log_prior.exp().cpu(), count, replacement=True, generator=generator)

    def __call__(
        self, tasks: Tensor, observations: dict[str, NDArray[np.generic]], rewards: NDArray[np.generic]
    ) -> NDArray[np.float32]:
        """Rewards (N,) of observations (N, ...) under tasks (N,); zeros before the first fit."""
        if not self.scaffold.fitted:
            return np.zeros(len(rewards), np.float32)
        states = torch.from_numpy(observations[self.observed]).to(self.scaffold.device)
        paid = self.of(states, tasks.to(self.scaffold.device))
        return paid.float().cpu().numpy()

    def of(self, states: Tensor, tasks: Tensor) -> Tensor:
        """Rewards (...) of states (..., *shape) under tasks that broadcast to (...)."""
        paid = task_reward(self.scaffold.log_likelihood(states), self.scaffold.log_prior, tasks, self.lam)
        return self.scale * (paid if self.bound is None else paid.clamp(-self.bound, self.bound))
