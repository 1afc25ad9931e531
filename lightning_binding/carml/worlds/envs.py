"""Worlds of single environments: any of Gymnasium's, in this process or in processes of their own."""

from __future__ import annotations

from abc import abstractmethod
from functools import partial
from typing import Any

import gymnasium
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv

from lightning_binding.carml.worlds.base import World
from lightning_binding.carml.worlds.guarded import GuardedVecEnv
from lightning_binding.carml.worlds.single import TrialEnv, channels_first
from lightning_binding.errors import InputError


class EnvWorld(World):
    """A world whose environments are made one by one; see `TrialEnv` for tasks and lengths.

    A subclass writes `make_one`, and sets `observation_space` and `action_space`.

    Args:
        episodes: Inner episodes of a trial.
        horizon: Steps of an inner episode.
        processes: Give every environment a process of its own, which is restarted if it dies or hangs.
        timeout: Seconds after which an environment in a process counts as hanging.
    """

    def __init__(self, episodes: int, horizon: int, processes: bool = False, timeout: float = 60.0) -> None:
        super().__init__(episodes, horizon)
        self.processes, self.timeout = processes, timeout

    @abstractmethod
    def make_one(self) -> gymnasium.Env[Any, Any]:
        """A new environment."""

    def make(self, count: int, seed: int) -> VecEnv:
        """Environments in a vector."""
        makers = [partial(TrialEnv, self.make_one, self.episodes, self.horizon) for _ in range(count)]
        if self.processes:
            envs: VecEnv = GuardedVecEnv(makers, self.episodes, self.horizon, self.timeout)
        else:
            envs = DummyVecEnv(makers)  # type: ignore[arg-type]
        envs.seed(seed)
        return envs


class GymWorld(EnvWorld):
    """Trials of any environment of Gymnasium's registry.

    Args:
        env: Its name, such as `MiniGrid-FourRooms-v0`, with `module:` before it where a module registers it.
        episodes: Inner episodes of a trial.
        horizon: Steps of an inner episode.
        processes: Give every environment a process of its own, which is restarted if it dies or hangs.
        timeout: Seconds after which an environment in a process counts as hanging.
        options: Arguments of the environment.

    Raises:
        InputError: If there is no such environment, or it ends before the horizon.
    """

    def __init__(
        self,
        env: str,
        episodes: int,
        horizon: int,
        processes: bool = False,
        timeout: float = 60.0,
        options: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(episodes, horizon, processes, timeout)
        self.env, self.options = env, options
        try:
            one = self.make_one()
        except (gymnasium.error.Error, ModuleNotFoundError) as error:
            raise InputError(f"the environment {env} cannot be made: {str(error).splitlines()[0]}") from error
        limit = one.spec.max_episode_steps if one.spec is not None else None
        if limit is not None and limit < horizon:
            raise InputError(f"{env} ends after {limit} steps, before the horizon of {horizon}: give {limit} or less.")
        self.observation_space, self.action_space = channels_first(one.observation_space), one.action_space
        one.close()

    def make_one(self) -> gymnasium.Env[Any, Any]:
        """A new environment."""
        return gymnasium.make(self.env, disable_env_checker=True, **self.options or {})
