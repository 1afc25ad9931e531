"""Whole trials that an agent has gone through, time first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass
class Rollout:
    """B trials of E inner episodes of T steps; L = E T.

    Attributes:
        episodes: E.
        observations: What was seen before each step, by key, (L, B, ...), as the world gave it.
        recall: Last action, last reward and flag, as the agent was given them, (L, B, R).
        actions: (L, B) or (L, B, A).
        rewards: What the agent was paid, (L, B).
        world_rewards: What the world would have paid, (L, B).
        valid: Trials that were not broken off, bool (B,).
        finals: Last observations of the inner episodes, by key, (E, B, ...).
        tasks: Tasks that a `RewardModel` drew, int64 (B,), or None.
        positions: True places after each step, (L, B, 2), where the world has them.
        successes: Whether each inner episode's task was done, bool (E, B), where the world can tell.
        features: Of the observations, (L, B, F), kept if no encoder is trained.
        errors: What broke trials off.
        log_probs: Of the actions when they were taken, (L, B).
        values: (L, B).
        advantages: (L, B).
        returns: Targets of the values, (L, B).
    """

    episodes: int
    observations: dict[str, Tensor]
    recall: Tensor
    actions: Tensor
    rewards: Tensor
    world_rewards: Tensor
    valid: Tensor
    finals: dict[str, Tensor]
    tasks: Tensor | None = None
    positions: Tensor | None = None
    successes: Tensor | None = None
    features: Tensor | None = None
    errors: tuple[str, ...] = ()
    log_probs: Tensor | None = None
    values: Tensor | None = None
    advantages: Tensor | None = None
    returns: Tensor | None = None

    @property
    def length(self) -> int:
        """Steps of a trial, L."""
        return self.rewards.shape[0]

    @property
    def trials(self) -> int:
        """Trials, B."""
        return self.rewards.shape[1]

    @property
    def mask(self) -> Tensor:
        """1 where a step counts, 0 in trials that were broken off, (L, B)."""
        return self.valid.float().expand_as(self.rewards)

    def states(self) -> dict[str, Tensor]:
        """What each step led to, by key, (E, T, B, ...): s_1 to s_T of every inner episode, without its first state."""
        shifted = {}
        for name, seen in self.observations.items():
            by_episode = seen.view(self.episodes, -1, *seen.shape[1:])
            shifted[name] = torch.cat([by_episode[:, 1:], self.finals[name].unsqueeze(1)], 1)
        return shifted

    def episode_returns(self, rewards: Tensor | None = None) -> Tensor:
        """Sums of the world's rewards, or of others, over each inner episode of the valid trials, (E, B)."""
        rewards = self.world_rewards if rewards is None else rewards
        chosen = rewards[:, self.valid]
        return chosen.reshape(self.episodes, -1, chosen.shape[1]).sum(1)

    def batch(self, index: Tensor) -> dict[str, Any]:
        """The trials of an index, as the loss takes them: everything (L, b, ...), `mask` with them."""
        names = ("recall", "actions", "log_probs", "values", "advantages", "returns", "mask")
        there = index.to(self.rewards.device)  # once, not for every tensor
        chosen = {name: getattr(self, name)[:, there] for name in names}
        if self.features is not None:
            return {**chosen, "features": self.features[:, there]}
        return {**chosen, "observations": {name: seen[:, index] for name, seen in self.observations.items()}}

    def state_dict(self) -> dict[str, Any]:
        """All as plain data, for a checkpoint in the middle of learning from it."""
        return dict(vars(self))

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Rollout:
        """The rollout of a `state_dict`."""
        return cls(**{**state, "errors": tuple(state["errors"])})
