"""Single environments of Gymnasium: trials of any environment, and the worlds of arrays as environments."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from lightning_binding.carml.worlds.arrays import FPS, ArrayWorld

Array = NDArray[Any]
Step = tuple[Any, float, bool, bool, dict[str, Any]]


class TrialEnv(gymnasium.Env[Any, Any]):
    """Trials of an environment: its task is drawn when a trial begins, and kept over the inner episodes.

    Where the environment has `sample_task(generator)`, with a `numpy.random.Generator`, the task is what that returns,
    and every inner episode begins with `reset(options={"task": task})`. Otherwise the seed is the task: every inner
    episode of a trial begins with the same `reset(seed=...)`, and so with the same layout.

    All inner episodes have `horizon` steps. One that the environment ends earlier waits in its last observation
    without rewards; a longer one is cut off. Pictures are turned to channels first.

    If the environment raises, the trial is marked with `info["broken"]` and passes by in zeros; the next trial begins
    with a new environment.

    Args:
        make: Makes the environment, also a new one in place of one that raised.
        episodes: Inner episodes of a trial.
        horizon: Steps of an inner episode.
    """

    def __init__(self, make: Callable[[], gymnasium.Env[Any, Any]], episodes: int, horizon: int) -> None:
        self.make, self.episodes, self.horizon = make, episodes, horizon
        self.env: gymnasium.Env[Any, Any] | None = make()
        self.metadata, self.render_mode = self.env.metadata, self.env.render_mode
        self.observation_space = channels_first(self.env.observation_space)
        self.action_space = self.env.action_space
        self.clock = 0
        self._arguments: dict[str, Any] = {}
        self._waiting: Any = None  # the last observation of an episode that ended early
        self._success: bool | None = None
        self.broken: str | None = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begins a new trial.

        Args:
            seed: Of the tasks from here on.
            options: `{"task": ...}` chooses the task.
        """
        super().reset(seed=seed)
        self.clock, self.broken = 0, None
        seen, info = self._guarded(lambda: self._begin_trial(options or {}), "in reset")
        return seen, info

    def _begin_trial(self, options: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
        if self.env is None:
            self.env = self.make()
        sample_task = getattr(self.env.unwrapped, "sample_task", None)
        if "task" in options:
            self._arguments = {"options": {"task": options["task"]}}
        elif sample_task is not None:
            self._arguments = {"options": {"task": sample_task(self.np_random)}}
        else:
            self._arguments = {"seed": int(self.np_random.integers(2**31))}
        return self._begin_episode(), {}

    def _begin_episode(self) -> Any:
        self._waiting, self._success = None, None
        return self._turned(self.env.reset(**self._arguments)[0])  # type: ignore[union-attr]

    def step(self, action: Any) -> Step:
        """Takes a step of the trial; it is terminated at the end of the trial."""
        self.clock += 1
        seen, reward, info = self._guarded(lambda: self._advance(action), f"at step {self.clock - 1} of a trial")
        if self.clock % self.horizon == 0:
            info["final_observation"] = seen
            if self._success is not None:
                info["success"] = self._success
        ended = self.clock == self.episodes * self.horizon
        if self.clock % self.horizon == 0 and not ended:
            seen, more = self._guarded(lambda: (self._begin_episode(), {}), f"in reset, at step {self.clock}")
            info |= more
        if self.broken is not None:
            info["broken"] = self.broken
        return seen, reward, ended, False, info

    def _advance(self, action: Any) -> tuple[Any, float, dict[str, Any]]:
        if self._waiting is not None:
            return self._waiting, 0.0, {}
        seen, reward, terminated, truncated, about = self.env.step(action)  # type: ignore[union-attr]
        seen = self._turned(seen)
        if terminated or truncated:
            self._waiting = seen
        for name in ("success", "is_success"):
            if name in about:
                self._success = bool(about[name])
        return seen, float(reward), {"position": about["position"]} if "position" in about else {}

    def _guarded(self, call: Callable[[], Any], when: str) -> Any:
        """What the call returns; zeros if the environment raises in it, or has before."""
        if self.broken is None:
            try:
                return call()
            except Exception as error:  # an environment's own, of any kind
                self.broken = f"an environment raised {type(error).__name__} {when}: {error}."
                self._discard()
        zeros = nothing(self.observation_space)
        return (zeros, {"broken": self.broken}) if "in reset" in when else (zeros, 0.0, {"broken": self.broken})

    def _discard(self) -> None:
        with contextlib.suppress(Exception):
            if self.env is not None:
                self.env.close()
        self.env = None

    def _turned(self, seen: Any) -> Any:
        if isinstance(seen, Mapping):
            known = self.observation_space.spaces  # type: ignore[attr-defined]
            return {name: _turn(np.asarray(value), known[name]) for name, value in seen.items()}
        return _turn(np.asarray(seen), self.observation_space)

    def render(self) -> Any:
        """The environment's picture."""
        return None if self.env is None else self.env.render()

    def close(self) -> None:
        """Closes the environment."""
        self._discard()


def _turn(seen: Array, space: spaces.Space[Any]) -> Array:
    return seen if seen.shape == space.shape else np.ascontiguousarray(np.moveaxis(seen, -1, 0))


def channels_first(space: spaces.Space[Any]) -> spaces.Space[Any]:
    """The space of the same observations with the channels of pictures first."""
    if isinstance(space, spaces.Dict):
        return spaces.Dict({name: channels_first(each) for name, each in space.spaces.items()})
    if (
        isinstance(space, spaces.Box)
        and space.dtype == np.uint8
        and len(space.shape) == 3
        and space.shape[-1] in (1, 3, 4)
    ):
        return spaces.Box(np.moveaxis(space.low, -1, 0), np.moveaxis(space.high, -1, 0), dtype=np.uint8)
    return space


def nothing(space: spaces.Space[Any]) -> Any:
    """An observation of zeros."""
    if isinstance(space, spaces.Dict):
        return {name: nothing(each) for name, each in space.spaces.items()}
    return np.zeros(space.shape or (), space.dtype)


class WorldEnv(gymnasium.Env[Any, Any]):
    """An inner episode of an `ArrayWorld` as an environment of Gymnasium; `TrialEnv` makes trials of it.

    The package registers one for each of its worlds: `gymnasium.make("lightning_binding/PointWorld-v0", reach=0.1)`
    after `import lightning_binding.carml.worlds`.

    Args:
        world: Class of the world.
        render_mode: `rgb_array`, or None.
        **options: Of the world.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": FPS}  # noqa: RUF012  (so in Gymnasium)

    def __init__(self, world: type[ArrayWorld], render_mode: str | None = None, **options: Any) -> None:
        self.world = world(**options)
        self.observation_space, self.action_space = self.world.observation_space, self.world.action_space
        self.render_mode, self.clock = render_mode, 0
        self._tasks: dict[str, Array] = {}
        self._state: dict[str, Array] = {}

    def sample_task(self, generator: np.random.Generator) -> dict[str, Array]:
        """A task, for `reset(options={"task": ...})`."""
        return {name: value[0] for name, value in self.world.draw_tasks(1, generator).items()}

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begins an episode, of a new task unless `options={"task": ...}` gives it."""
        super().reset(seed=seed)
        given = (options or {}).get("task")
        self._tasks = {
            name: np.asarray(value)[None] for name, value in (given or self.sample_task(self.np_random)).items()
        }
        self._state = self.world.begin(self._tasks, self.np_random)
        self.clock = 0
        return self.world.observe(self._tasks, self._state)[0], {}

    def step(self, action: Any) -> Step:
        """Takes a step; the episode is truncated at the world's horizon."""
        reward = self.world.advance(self._tasks, self._state, np.asarray(action)[None], self.np_random)
        self.clock += 1
        info: dict[str, Any] = {}
        if (places := self.world.positions(self._state)) is not None:
            info["position"] = places[0]
        if (done := self.world.successes(self._tasks, self._state)) is not None:
            info["success"] = bool(done[0])
        seen = self.world.observe(self._tasks, self._state)[0]
        return seen, float(reward[0]), False, self.clock >= self.world.horizon, info

    def render(self) -> Any:
        """A picture for people, uint8 (H, W, 3)."""
        return self.world.draw(self._tasks, self._state, 0) if self.render_mode == "rgb_array" else None
