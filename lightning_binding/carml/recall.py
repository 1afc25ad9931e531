"""What an agent is told beside the observation: its last action, its last reward, and where inner episodes begin."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper

from lightning_binding.carml.actions import Actions

Array = NDArray[Any]
RECALL = "recall"  # key of the last action, reward and flag in a dict of observations


def named(value: Any) -> dict[str, Any]:
    """Observations, or spaces, by key: one that has none goes by `observation`."""
    return dict(value) if isinstance(value, dict) else {"observation": value}


class Memo:
    """The last action, reward and flag of environments that are in step, as the numbers that an agent is given.

    At the beginning of a trial all are zero. The flag is 1 at the first step after the end of an inner episode; action
    and reward are then those of that end.

    Args:
        actions: Of the agent.
        count: Of environments.

    Attributes:
        values: float32 (N, code of the action + 2).
    """

    def __init__(self, actions: Actions, count: int) -> None:
        self.actions = actions
        self.values = np.zeros((count, actions.code_size + 2), dtype=np.float32)

    def clear(self, which: Array | slice = slice(None)) -> None:
        """A new trial begins."""
        self.values[which] = 0

    def note(self, actions: Array, rewards: Array, boundary: Array | bool) -> None:
        """Takes down a step: actions (N, ...), rewards (N,), and whether an inner episode ended, (N,)."""
        self.actions.encode(actions, self.values[:, :-2])
        self.values[:, -2] = rewards
        self.values[:, -1] = boundary


class Recall(VecEnvWrapper):
    """Adds last action, last reward and flag to the observations, for agents under stable-baselines3's tools.

    The observation becomes a dict: the keys of the world's, or `observation`, and `recall`. With `flat` it is one
    vector, for policies of others.

    Args:
        envs: The vector of a world.
        flat: Give one vector (N, numbers of the observation + those of recall).
    """

    def __init__(self, envs: VecEnv, flat: bool = False) -> None:
        self.flat = flat
        self.memo = Memo(Actions(envs.action_space), envs.num_envs)
        self._taken: Array = np.zeros(0)
        size = self.memo.values.shape[1]
        added = spaces.Box(-np.inf, np.inf, (size,), np.float32)
        if flat:
            total = size + int(np.prod(envs.observation_space.shape or (1,)))
            space: spaces.Space[Any] = spaces.Box(-np.inf, np.inf, (total,), np.float32)
        else:
            inner = envs.observation_space
            known = dict(inner.spaces) if isinstance(inner, spaces.Dict) else named(inner)
            space = spaces.Dict({**known, RECALL: added})
        super().__init__(envs, observation_space=space)

    def reset(self) -> Any:
        """First observations of new trials."""
        seen = self.venv.reset()
        self.memo.clear()
        return self._with(seen)

    def step_async(self, actions: Array) -> None:
        """Takes the actions."""
        self._taken = np.asarray(actions)
        self.venv.step_async(actions)

    def step_wait(self) -> Any:
        """Steps all environments."""
        seen, rewards, dones, infos = self.venv.step_wait()
        ended = [index for index, info in enumerate(infos) if "final_observation" in info]
        boundary = np.zeros(self.num_envs, dtype=np.float32)
        boundary[ended] = 1
        space = self.action_space
        codes = self._taken - int(space.start) if isinstance(space, spaces.Discrete) and space.start else self._taken
        self.memo.note(codes, rewards, boundary)
        for index in np.flatnonzero(dones).tolist():
            infos[index]["terminal_observation"] = self._one(infos[index]["terminal_observation"], index)
        self.memo.clear(dones)
        return self._with(seen), rewards, dones, infos

    def _with(self, seen: Any) -> Any:
        if self.flat:
            return np.concatenate([seen.reshape(self.num_envs, -1), self.memo.values], 1, dtype=np.float32)
        return {**named(seen), RECALL: self.memo.values.copy()}

    def _one(self, seen: Any, index: int) -> Any:
        if self.flat:
            return np.concatenate([np.ravel(seen), self.memo.values[index]], dtype=np.float32)
        return {**named(seen), RECALL: self.memo.values[index].copy()}
