"""What a world is: tasks, trials of whole episodes, and environments in a vector."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from gymnasium import spaces
from stable_baselines3.common.vec_env import VecEnv

from lightning_binding.errors import InputError
from lightning_binding.hparams import Undescribed, plain


class World(ABC):
    """A distribution of tasks with fixed lengths, which makes its environments in a vector.

    A **trial** is `episodes` inner episodes of exactly `horizon` steps. Its task is drawn when it begins and is kept;
    the end of an inner episode resets the place, not the task. All environments of a vector are in step: they begin
    and end episodes and trials together, because lengths are fixed.

    The vector that `make` returns is a `VecEnv` of stable-baselines3 whose episode is a whole trial:

    * `done` is True at the end of a trial only, and the observation that comes with it is the next trial's first
      one, as always in stable-baselines3; the last one of the trial is `info["terminal_observation"]`.
    * At the end of every inner episode, that of the trial too, `info["final_observation"]` is its last observation;
      the observation that is returned is the first of the next episode.
    * `info["success"]`, at the end of an inner episode, says whether its task was done, where a world can tell.
    * `info["position"]`, at every step, is the true place (2,) before any reset, where a world has one.
    * `info["broken"]` is a sentence from the step on at which an environment failed: it is restarted, and the trial
      is dropped.

    A vector may answer for all environments at once, which is faster: `positions()` `(N, 2)` and `successes()` `(N,)`
    of the last step, `final_observations()` of the last episode. `get_state()` and `set_state(state)` with plain data
    and tensors let a checkpoint go on in the middle of anything.

    Args:
        episodes: Inner episodes of a trial.
        horizon: Steps of an inner episode.

    Attributes:
        observation_space: What an agent sees in a step; pictures have channels first, uint8.
        action_space: What it can do.

    Raises:
        InputError: If a number is not positive.
    """

    observation_space: spaces.Space[Any]
    action_space: spaces.Space[Any]

    def __init__(self, episodes: int, horizon: int) -> None:
        for name, value in {"episodes": episodes, "horizon": horizon}.items():
            if value < 1:
                raise InputError(f"{name} is {value}; a trial has 1 or more episodes of 1 or more steps.")
        self.episodes, self.horizon = episodes, horizon

    @property
    def trial_length(self) -> int:
        """Steps of a trial."""
        return self.episodes * self.horizon

    def description(self) -> dict[str, Any]:
        """What it is, as plain data: a checkpoint knows by it whether a run goes on in the same world.

        A world whose class keeps each argument under its name is told by all of them, another by class and lengths.
        """
        path = f"{type(self).__module__}.{type(self).__qualname__}"
        found: dict[str, Any] = {"class_path": path, "episodes": self.episodes, "horizon": self.horizon}
        try:
            return {**found, **plain(self)["init_args"]}
        except Undescribed:
            return found

    @abstractmethod
    def make(self, count: int, seed: int) -> VecEnv:
        """Environments of this world in a vector.

        Args:
            count: Of environments.
            seed: Of the first; the others are seeded from it.
        """
