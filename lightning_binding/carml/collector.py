"""Lets an agent act in a vector of environments for whole trials."""

from __future__ import annotations

import time as clock
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor

from lightning_binding.carml.agent import Agent
from lightning_binding.carml.recall import Memo, named
from lightning_binding.carml.reward_model import RewardModel
from lightning_binding.carml.rollout import Rollout
from lightning_binding.carml.worlds.base import World
from lightning_binding.errors import InputError

Array = NDArray[Any]


class Collector:
    """Collects rollouts, each of the same number of whole trials.

    It owns the randomness of acting, and what the next trials begin with; both, and the environments' states where
    they have `get_state`, are in its `state_dict`.

    Args:
        envs: The vector, of a world's `make`.
        world: The world.
        steps: Steps of each environment in a rollout; a multiple of the trial's length. None is one trial.
        seed: Of the environments and of acting.

    Raises:
        InputError: If the steps do not hold whole trials.
    """

    def __init__(self, envs: VecEnv, world: World, steps: int | None = None, seed: int = 0) -> None:
        steps = world.trial_length if steps is None else steps
        if steps < 1 or steps % world.trial_length:
            raise InputError(
                f"steps is {steps}, which does not hold whole trials of {world.episodes} episodes of {world.horizon} "
                f"steps: give a multiple of {world.trial_length}."
            )
        self.envs, self.world, self.rounds = envs, world, steps // world.trial_length
        self.generator = torch.Generator().manual_seed(seed)
        self.seed, self.rollouts = seed, 0
        self.seconds: dict[str, float] = {}
        self._next: dict[str, Array] | None = None

    def restart(self) -> None:
        """Begins anew: the next rollouts are those of a new collector."""
        self.generator.manual_seed(self.seed)
        self.rollouts, self._next = 0, None

    @property
    def trials(self) -> int:
        """Trials of a rollout."""
        return self.rounds * self.envs.num_envs

    @property
    def steps(self) -> int:
        """Steps of all environments in a rollout."""
        return self.trials * self.world.trial_length

    def collect(self, agent: Agent, reward_model: RewardModel | None = None, deterministic: bool = False) -> Rollout:
        """Goes through the trials of a rollout.

        Where the time went is in `seconds`: `environment`, `reward` (of a model), and `policy`, the rest.

        Args:
            agent: Whose actions are taken.
            reward_model: What pays it in place of the world.
            deterministic: Take the most probable actions.

        Raises:
            InputError: If an observation or a reward is not finite, or all environments broke down.
        """
        if self._next is None:  # after a resume without `get_state`, other seeds than at the beginning
            self.envs.seed(self.seed + self.rollouts * self.envs.num_envs)
            self._next = named(self.envs.reset())
        record = _Record(self, agent, reward_model)
        begun, self.seconds = clock.perf_counter(), {"environment": 0.0, "reward": 0.0}
        training = agent.training
        agent.eval()
        with torch.inference_mode():
            for number in range(self.rounds):
                self._trial(record, number, deterministic)
        agent.train(training)
        self.rollouts += 1
        self.seconds["policy"] = clock.perf_counter() - begun - sum(self.seconds.values())
        return record.rollout()

    def _trial(self, record: _Record, number: int, deterministic: bool) -> None:
        """One trial of every environment."""
        agent, count, length = record.agent, self.envs.num_envs, self.world.trial_length
        device, on_cpu = agent.device, agent.device.type == "cpu"
        memo, state = Memo(agent.actions, count), agent.begin(count)
        noise = None if deterministic else agent.actions.noise(length, count, generator=self.generator).to(device)
        seen: dict[str, Array] = self._next or {}
        record.begin(number)
        for time in range(length):
            observed = {name: torch.from_numpy(value) for name, value in seen.items()}
            recall = torch.from_numpy(memo.values)
            if not on_cpu:
                observed, recall = {name: value.to(device) for name, value in observed.items()}, recall.to(device)
            features = agent.encode(observed)
            outputs, state = agent.step(features, recall, state)
            chosen = agent.act(outputs, None if noise is None else noise[time])
            actions = (chosen if on_cpu else chosen.cpu()).numpy()
            record.before(time, seen, memo.values, actions, features)
            before = clock.perf_counter()
            following, rewards, _, infos = self.envs.step(agent.actions.to_world(actions))
            after = clock.perf_counter()
            self.seconds["environment"] += after - before
            seen = named(following)
            boundary = (time + 1) % self.world.horizon == 0
            paid = record.after(time, seen, rewards, infos, boundary)
            memo.note(actions, paid, boundary)
            self.seconds["reward"] += record.spent
        self._next = seen

    def state_dict(self) -> dict[str, Any]:
        """What the next rollouts depend on."""
        get_state = getattr(self.envs, "get_state", None)
        following = None
        if get_state is not None and self._next is not None:
            following = {name: torch.from_numpy(value.copy()) for name, value in self._next.items()}
        return {
            "generator": self.generator.get_state(),
            "rollouts": self.rollouts,
            "next": following,
            "envs": None if following is None or get_state is None else get_state(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on from a `state_dict`; environments without states begin new trials, with seeds of their own."""
        self.generator.set_state(state["generator"])
        self.rollouts = int(state["rollouts"])
        set_state = getattr(self.envs, "set_state", None)
        if state["envs"] is not None and set_state is not None:
            set_state(state["envs"])
            self._next = {name: value.numpy().copy() for name, value in state["next"].items()}


class _Record:
    """The arrays of a rollout while they are filled."""

    def __init__(self, collector: Collector, agent: Agent, reward_model: RewardModel | None) -> None:
        world, self.agent, self.reward_model = collector.world, agent, reward_model
        self.envs, self.world, self.generator = collector.envs, world, collector.generator
        length, self.count, trials = world.trial_length, collector.envs.num_envs, collector.trials
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
        self.features = [torch.empty(0)] * (length * collector.rounds) if agent.frozen else []
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
            self.features[time * (len(self.features) // len(self.steps["rewards"])) + self.number] = features

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
