"""Lets an agent act in a vector of environments for whole trials."""

from __future__ import annotations

import time as clock
from collections.abc import Mapping
from typing import Any

import torch
from lightning.pytorch.utilities import rank_zero_info
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor

from lightning_binding.carml.agent import Agent
from lightning_binding.carml.recall import Memo, named
from lightning_binding.carml.record import Record
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
        record = Record(self.envs, self.world, self.rounds, self.generator, agent, reward_model)
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

    def _trial(self, record: Record, number: int, deterministic: bool) -> None:
        """One trial of every environment."""
        agent, count, length = record.agent, self.envs.num_envs, self.world.trial_length
        device, on_cpu = agent.device, agent.device.type == "cpu"
        memo, state = Memo(agent.actions, count), agent.begin(count)
        noise = None if deterministic else self._noise(agent, length, count)
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

    def _noise(self, agent: Agent, length: int, count: int) -> Tensor:
        """The noise of a trial's actions, (length, count, outputs), made where the agent is."""
        generator = self.generator
        if agent.device.type != "cpu":  # its own generator, of a seed from the one that a checkpoint holds
            seed = int(torch.randint(2**62, (1,), generator=generator))
            generator = torch.Generator(agent.device).manual_seed(seed)
        return agent.actions.noise(length, count, generator=generator, device=agent.device)

    def state_dict(self) -> dict[str, Any]:
        """What the next rollouts depend on."""
        get_state = getattr(self.envs, "get_state", None)
        following = None
        if get_state is not None and self._next is not None:
            following = {name: torch.from_numpy(value.copy()) for name, value in self._next.items()}
        return {
            "generator": self.generator.get_state(),
            "rollouts": self.rollouts,
            "world": self.world.description(),
            "next": following,
            "envs": None if following is None or get_state is None else get_state(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on from a `state_dict`; environments without states begin new trials, with seeds of their own.

        So do those of a world that is not what it was, and a sentence says so.

        Raises:
            InputError: If there are other environments than then, in number.
        """
        self.generator.set_state(state["generator"])
        self.rollouts = int(state["rollouts"])
        if changed := self._changed(state.get("world")):
            rank_zero_info(f"The world is not that of the checkpoint: {changed}. New trials begin.")
            return
        for value in (state["next"] or {}).values():
            if len(value) != self.envs.num_envs:
                raise InputError(
                    f"the checkpoint has the states of {len(value)} environments, and there are {self.envs.num_envs}: "
                    f"give --data.envs {len(value)} (--data.eval_envs where it differs), or start from its weights "
                    "alone, by --model.init_from."
                )
        set_state = getattr(self.envs, "set_state", None)
        if state["envs"] is not None and set_state is not None:
            set_state(state["envs"])
            self._next = {name: value.numpy().copy() for name, value in state["next"].items()}

    def _changed(self, before: Mapping[str, Any] | None) -> str:
        """What of the world is not as it was described; nothing where that is not known."""
        now = self.world.description()
        names = [] if before is None else [name for name in {**now, **before} if now.get(name) != before.get(name)]
        return ", ".join(f"{name} is {now.get(name)} and was {(before or {}).get(name)}" for name in names)
