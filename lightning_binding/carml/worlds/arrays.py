"""Worlds written in NumPy: five functions on arrays, and one engine that makes a `VecEnv` of them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv

from lightning_binding.carml.worlds.base import World

Array = NDArray[Any]
Arrays = dict[str, Array]
FPS = 8  # steps a second in videos for people


class ArrayWorld(World):
    """A world whose environments are rows of arrays: a step of all of them is one call.

    A subclass sets `observation_space` and `action_space`, and writes `draw_tasks`, `begin`, `advance` and `observe`;
    `successes`, `positions` and `draw` where it can. Tasks and states are dicts of arrays whose first axis is the
    environment's.
    """

    @abstractmethod
    def draw_tasks(self, count: int, generator: np.random.Generator) -> Arrays:
        """Tasks of `count` trials."""

    @abstractmethod
    def begin(self, tasks: Arrays, generator: np.random.Generator) -> Arrays:
        """States at the beginning of an inner episode."""

    @abstractmethod
    def advance(self, tasks: Arrays, state: Arrays, actions: Array, generator: np.random.Generator) -> Array:
        """Takes a step: changes the states in place, and returns the rewards (N,)."""

    @abstractmethod
    def observe(self, tasks: Arrays, state: Arrays) -> Array:
        """What is seen: a new array (N, ...) of the observation space."""

    def successes(self, tasks: Arrays, state: Arrays) -> Array | None:
        """Whether each task is done at the end of an inner episode, bool (N,); None where that has no meaning."""
        return None

    def positions(self, state: Arrays) -> Array | None:
        """True places (N, 2); None where there are none."""
        return None

    def draw(self, tasks: Arrays, state: Arrays, index: int) -> Array:
        """A picture of one environment for people to look at, uint8 (H, W, 3)."""
        raise NotImplementedError(f"{type(self).__name__} has no pictures.")

    def make(self, count: int, seed: int) -> ArrayVecEnv:
        """Environments in a vector."""
        return ArrayVecEnv(self, count, seed)


class ArrayVecEnv(VecEnv):
    """The vector of an `ArrayWorld`.

    Args:
        world: The world.
        count: Number of environments.
        seed: Of all that is drawn.
    """

    metadata: dict[str, Any]
    render_mode = "rgb_array"

    def __init__(self, world: ArrayWorld, count: int, seed: int) -> None:
        self.world = world
        self.generator = np.random.default_rng(seed)
        self.tasks: Arrays = {}
        self.state: Arrays = {}
        self.clock = 0
        self._final: Array | None = None
        self._successes: Array | None = None
        self._positions: Array | None = None
        self._shown: tuple[Arrays, Arrays] = ({}, {})  # what pictures are of
        self._actions: Array = np.zeros(0)
        super().__init__(count, world.observation_space, world.action_space)
        self.metadata["render_fps"] = FPS

    def reset(self) -> Array:
        """Begins new trials; with `set_options({"task": ...})`, of that task, or of a list of them."""
        if self._seeds[0] is not None:
            self.generator = np.random.default_rng(self._seeds[0])
        self._new_trials([options.get("task") for options in self._options])
        self._reset_seeds()
        self._reset_options()
        return self.world.observe(self.tasks, self.state)

    def _new_trials(self, given: Iterable[Mapping[str, Any] | None] = ()) -> None:
        self.clock = 0
        self.tasks = self.world.draw_tasks(self.num_envs, self.generator)
        for index, task in enumerate(given):
            for name, value in (task or {}).items():
                self.tasks[name][index] = value
        self.state = self.world.begin(self.tasks, self.generator)
        self._positions = self.world.positions(self.state)
        self._shown = self.tasks, self.state

    def step_async(self, actions: Array) -> None:
        """Takes the actions (N, ...)."""
        self._actions = actions

    def step_wait(self) -> tuple[Array, Array, Array, list[dict[str, Any]]]:
        """Steps all environments."""
        world = self.world
        rewards = world.advance(self.tasks, self.state, self._actions, self.generator)
        self._positions, self._shown = world.positions(self.state), (self.tasks, self.state)
        self.clock += 1
        seen = world.observe(self.tasks, self.state)
        dones = np.zeros(self.num_envs, dtype=bool)
        infos: list[dict[str, Any]] = [{}] * self.num_envs  # within an episode there is nothing to say of anyone
        if self.clock % world.horizon == 0:
            infos = [{} for _ in range(self.num_envs)]
            seen, dones[:] = self._end_episode(seen, infos), self.clock == 0
        return seen, rewards, dones, infos

    def _end_episode(self, seen: Array, infos: list[dict[str, Any]]) -> Array:
        """Begins the next episode, of a new trial if the old one is at its end; returns its first observation."""
        self._final, self._successes = seen, self.world.successes(self.tasks, self.state)
        ended, positions, shown = self.clock == self.world.trial_length, self._positions, self._shown
        for index, info in enumerate(infos):
            info["final_observation"] = seen[index]
            if self._successes is not None:
                info["success"] = bool(self._successes[index])
            if ended:
                info["terminal_observation"] = seen[index]
        if ended:
            self._new_trials()
        else:
            self.state = self.world.begin(self.tasks, self.generator)
        self._positions, self._shown = positions, shown  # those at the end; the next step gives those after it
        return self.world.observe(self.tasks, self.state)

    def positions(self) -> Array | None:
        """True places (N, 2) after the last step, before any reset."""
        return self._positions

    def successes(self) -> Array | None:
        """Whether the task was done, bool (N,), in the last inner episode."""
        return self._successes

    def final_observations(self) -> Array | None:
        """Last observations (N, ...) of the last inner episode."""
        return self._final

    def get_state(self) -> dict[str, Any]:
        """All that the next steps depend on, as plain data and tensors."""
        return {
            "generator": self.generator.bit_generator.state,
            "tasks": {name: torch.from_numpy(value.copy()) for name, value in self.tasks.items()},
            "state": {name: torch.from_numpy(value.copy()) for name, value in self.state.items()},
            "clock": self.clock,
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Goes on from `get_state`."""
        self.generator.bit_generator.state = state["generator"]
        self.tasks = {name: value.numpy().copy() for name, value in state["tasks"].items()}
        self.state = {name: value.numpy().copy() for name, value in state["state"].items()}
        self.clock = int(state["clock"])
        self._positions, self._shown = self.world.positions(self.state), (self.tasks, self.state)

    def get_images(self) -> list[Array]:
        """A picture of each environment after the last step, before any reset."""
        return [self.world.draw(*self._shown, index) for index in range(self.num_envs)]

    def close(self) -> None:
        """There is nothing to close."""

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """The vector's attribute, for each index."""
        return [getattr(self, attr_name)] * len(self._chosen(indices))

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Sets an attribute of the vector."""
        setattr(self, attr_name, value)

    def env_method(self, method_name: str, *method_args: Any, indices: Any = None, **method_kwargs: Any) -> list[Any]:
        """Calls a method of the vector once, and gives its result for each index."""
        return [getattr(self, method_name)(*method_args, **method_kwargs)] * len(self._chosen(indices))

    def env_is_wrapped(self, wrapper_class: type[Any], indices: Any = None) -> list[bool]:
        """Rows of arrays have no wrappers."""
        return [False] * len(self._chosen(indices))

    def _chosen(self, indices: Any) -> list[int]:
        return list(self._get_indices(indices))
