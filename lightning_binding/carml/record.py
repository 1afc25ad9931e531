"""What is taken down while an agent acts, and what is wrong with it."""

from __future__ import annotations

import time as clock
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor

from lightning_binding.carml.agent import Agent
from lightning_binding.carml.recall import named
from lightning_binding.carml.reward_model import RewardModel
from lightning_binding.carml.rollout import Rollout
from lightning_binding.carml.worlds.base import World
from lightning_binding.errors import InputError

Array = NDArray[Any]


class Record:
    """The arrays of a rollout while they are filled, a round of trials at a time.

    Args:
        envs: The vector.
        world: Its world.
        rounds: Trials of each environment.
        generator: Of the model's draws.
        agent: Who acts.
        reward_model: What pays it in place of the world.

    Attributes:
        spent: Seconds of the model in the last step.
    """

    def __init__(
        self,
        envs: VecEnv,
        world: World,
        rounds: int,
        generator: torch.Generator,
        agent: Agent,
        reward_model: RewardModel | None,
    ) -> None:
        self.envs, self.world, self.rounds, self.generator = envs, world, rounds, generator
        self.agent, self.reward_model = agent, reward_model
        length, self.count = world.trial_length, envs.num_envs
        trials = rounds * self.count
        self.steps = {
            "recall": np.empty((length, trials, agent.recall_size), np.float32),
            "actions": np.empty(
                (length, trials, *agent.actions.shape), np.int64 if agent.actions.choices else np.float32
            ),
            "rewards": np.empty((length, trials), np.float32),
            "world_rewards": np.empty((length, trials), np.float32),
        }
        spaces = agent.spaces
        self.seen = {name: np.empty((length, trials, *(each.shape or ())), each.dtype) for name, each in spaces.items()}
        self.finals = {
            name: np.empty((world.episodes, trials, *(each.shape or ())), each.dtype) for name, each in spaces.items()
        }
        self.features = [torch.empty(0)] * (length * rounds) if agent.frozen else []
        self.valid, self.errors = np.ones(trials, bool), list[str]()
        self.tasks = None if reward_model is None else torch.empty(trials, dtype=torch.int64)
        self.positions: Array | None = None
        self.successes: Array | None = None
        self.floats = [name for name, each in spaces.items() if np.issubdtype(each.dtype, np.floating)]
        self.columns, self.number, self.spent = slice(0), 0, 0.0

    def begin(self, number: int) -> None:
        """The trials of a round begin."""
        self.number, self.columns = number, slice(number * self.count, (number + 1) * self.count)
        if self.reward_model is not None and self.tasks is not None:
            self.tasks[self.columns] = self.reward_model.draw(self.count, self.generator)

    def before(self, time: int, seen: dict[str, Array], recall: Array, actions: Array, features: Tensor) -> None:
        """Takes down what an agent saw and does."""
        for name, value in seen.items():
            self.seen[name][time, self.columns] = value
        self.steps["recall"][time, self.columns] = recall
        self.steps["actions"][time, self.columns] = actions
        if self.features:
            self.features[time * self.rounds + self.number] = features

    def after(
        self, time: int, seen: dict[str, Array], rewards: Array, infos: list[dict[str, Any]], boundary: bool
    ) -> Array:
        """Takes down what a step led to; returns what the agent is paid for it."""
        if any(infos):
            self._broken(infos)
        if boundary:
            episode = time // self.world.horizon
            seen = self._finals(infos)
            for name, value in seen.items():
                self.finals[name][episode, self.columns] = value
            self._successes(episode, infos)
        if not (np.isfinite(rewards.sum()) and all(np.isfinite(seen[name].sum()) for name in self.floats)):
            self._complain(time, seen, rewards)
        self._places(time, infos)
        self.steps["world_rewards"][time, self.columns] = rewards
        paid = rewards
        if self.reward_model is not None and self.tasks is not None:
            before = clock.perf_counter()
            paid = self.reward_model(self.tasks[self.columns], seen, rewards)
            self.spent = clock.perf_counter() - before
            if not np.isfinite(paid.sum()):
                raise InputError(f"{type(self.reward_model).__name__} gave a reward that is not finite at step {time}.")
        self.steps["rewards"][time, self.columns] = paid
        return paid

    def _broken(self, infos: list[dict[str, Any]]) -> None:
        for index, info in enumerate(infos):
            trial = self.columns.start + index
            if "broken" in info and self.valid[trial]:
                self.valid[trial] = False
                self.errors.append(str(info["broken"]))

    def _finals(self, infos: list[dict[str, Any]]) -> dict[str, Array]:
        whole = getattr(self.envs, "final_observations", None)
        if whole is not None:
            return named(whole())
        each = [named(info["final_observation"]) for info in infos]
        return {name: np.stack([one[name] for one in each]) for name in each[0]}

    def _successes(self, episode: int, infos: list[dict[str, Any]]) -> None:
        whole = getattr(self.envs, "successes", None)
        found = [info.get("success") for info in infos] if whole is None else whole()
        if found is None or any(each is None for each in found):
            return
        if self.successes is None:
            self.successes = np.zeros((self.world.episodes, len(self.valid)), bool)
        self.successes[episode, self.columns] = found

    def _places(self, time: int, infos: list[dict[str, Any]]) -> None:
        whole = getattr(self.envs, "positions", None)
        found = [info.get("position") for info in infos] if whole is None else whole()
        if found is None or any(each is None for each in found):
            return
        if self.positions is None:
            self.positions = np.zeros((self.world.trial_length, len(self.valid), 2), np.float32)
        self.positions[time, self.columns] = found

    def _complain(self, time: int, seen: dict[str, Array], rewards: Array) -> None:
        """Raises an `InputError` that names the first number that is not finite."""
        finite: dict[str, Array] = {"reward": np.isfinite(rewards)}
        for name in self.floats:
            finite[f"`{name}`"] = np.isfinite(seen[name].reshape(self.count, -1).sum(1))
        for what, good in finite.items():
            if not good.all():
                index = int(np.flatnonzero(~good)[0])
                raise InputError(
                    f"{type(self.world).__name__} gave a {what} that is not finite, at step {time} of a trial in "
                    f"environment {index}: mend the environment, or clip what it gives."
                )

    def rollout(self) -> Rollout:
        """The whole of it, as tensors."""
        if not self.valid.any():
            raise InputError(f"all {len(self.valid)} trials were broken off: {self.errors[0]} Mend the environment.")

        def tensor(value: Array | None) -> Tensor | None:
            return None if value is None else torch.from_numpy(value)

        steps = {name: torch.from_numpy(value) for name, value in self.steps.items()}
        lead = steps["rewards"].shape
        features = torch.stack(self.features).view(*lead, -1) if self.features else None
        return Rollout(
            episodes=self.world.episodes,
            observations={name: torch.from_numpy(value) for name, value in self.seen.items()},
            finals={name: torch.from_numpy(value) for name, value in self.finals.items()},
            valid=torch.from_numpy(self.valid),
            tasks=self.tasks,
            positions=tensor(self.positions),
            successes=tensor(self.successes),
            features=features,
            errors=tuple(self.errors),
            **steps,
        )
