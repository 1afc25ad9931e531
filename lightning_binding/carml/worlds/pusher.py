"""The pusher: a robot's hand on a table, and a puck to push, in MuJoCo."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from lightning_binding.carml.worlds.envs import EnvWorld
from lightning_binding.carml.worlds.pusher_scene import HALF, SCENE, SIZE, mujoco, renderer
from lightning_binding.errors import InputError

PUCK = (0.0, 0.1)  # where it begins, in units of the square; the hand begins below it
HAND = (0.0, -0.35)


class PusherRoom(gymnasium.Env[NDArray[Any], Any]):
    """One table; see `PusherWorld`, which makes it.

    Args:
        goals: Places (x, y) that the puck is to be pushed to, in [-1, 1]; None is anywhere.
        reach: How near to the goal counts as there, in units of the square.
        speed: Fastest motion of the hand, in metres in a second.
        frame_skip: Steps of the simulation, of 10 ms, in a step.
        pictures: See pictures in place of coordinates.
        rewarded: Pay at all.
        dense: Pay the nearness of the puck to the goal; otherwise 1 within reach.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012  (so in Gymnasium)
    render_mode = "rgb_array"

    def __init__(
        self,
        goals: Sequence[Sequence[float]] | None,
        reach: float,
        speed: float,
        frame_skip: int,
        pictures: bool,
        rewarded: bool,
        dense: bool,
    ) -> None:
        self.goals, self.reach, self.speed, self.frame_skip = goals, reach, speed, frame_skip
        self.pictures, self.rewarded, self.dense = pictures, rewarded, dense
        self.observation_space = observation_space(pictures)
        self.action_space = spaces.Box(-1, 1, (2,), np.float32)
        self.goal = np.zeros(2)
        self._package = mujoco()
        self._model = self._package.MjModel.from_xml_string(SCENE)
        self._data = self._package.MjData(self._model)
        self._renderer: Any = renderer(self._model) if pictures else None

    def sample_task(self, generator: np.random.Generator) -> NDArray[np.float64]:
        """A goal of the puck."""
        if self.goals is None:
            return generator.uniform(-0.9, 0.9, 2)
        return np.array(self.goals[int(generator.integers(len(self.goals)))], dtype=np.float64)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[Any], dict[str, Any]]:
        """Begins an episode; `options={"task": ...}` is the goal."""
        super().reset(seed=seed)
        task = (options or {}).get("task")
        self.goal = np.asarray(self.sample_task(self.np_random) if task is None else task, dtype=np.float64)
        self._package.mj_resetData(self._model, self._data)
        self._data.qpos[:] = np.array([*HAND, *PUCK]) * HALF
        self._package.mj_forward(self._model, self._data)
        return self._observe(), self._info()

    def step(self, action: NDArray[np.float32]) -> tuple[NDArray[Any], float, bool, bool, dict[str, Any]]:
        """Moves the hand with a velocity."""
        self._data.ctrl[:] = self.speed * np.clip(action, -1, 1)
        self._package.mj_step(self._model, self._data, self.frame_skip)
        info = self._info()
        distance = float(np.hypot(*(info["position"] - self.goal)))
        nearness = 1 - distance if self.dense else float(distance < self.reach)
        return self._observe(), nearness if self.rewarded else 0.0, False, False, info

    def _observe(self) -> NDArray[Any]:
        if not self.pictures:
            places: NDArray[np.float32] = np.clip(self._data.qpos / HALF, -2, 2).astype(np.float32)
            return places
        return np.ascontiguousarray(self.render().transpose(2, 0, 1))

    def _info(self) -> dict[str, Any]:
        place = self._data.qpos[2:4] / HALF
        return {
            "position": place,
            "hand": self._data.qpos[:2] / HALF,
            "success": bool(np.hypot(*(place - self.goal)) < self.reach),
        }

    def render(self) -> Any:
        """The table from above, uint8 (64, 64, 3)."""
        if self._renderer is None:
            self._renderer = renderer(self._model)
        self._renderer.update_scene(self._data, "top")
        return self._renderer.render()

    def close(self) -> None:
        """Frees what renders."""
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None


class PusherWorld(EnvWorld):
    """A robot's hand on a table, which pushes a puck to a hidden goal, of primitive shapes in MuJoCo.

    It stands for the Sawyer pushing of CARML's experiments, whose sizes and lengths are not verified: these are a
    choice. Places are in units of the square that hand and puck stay in, from -1 to 1; the true position is the puck's.

    Args:
        episodes: Inner episodes of a trial.
        horizon: Steps of an inner episode.
        goals: Places (x, y) that goals are drawn from; None is anywhere.
        reach: How near to the goal counts as there.
        speed: Fastest motion of the hand, in metres in a second; the square is 0.8 m wide.
        frame_skip: Steps of the simulation, of 10 ms, in a step.
        pictures: See pictures (3, 64, 64) from above in place of hand and puck (4,); they need EGL or OSMesa.
        rewarded: Pay at all.
        dense: Pay the nearness of the puck to the goal (1 at it, less by the distance); otherwise 1 within reach.
        processes: Give every environment a process of its own, which is restarted if it dies or hangs.
        timeout: Seconds after which an environment in a process counts as hanging.

    Raises:
        InputError: If MuJoCo is not installed, or a goal is outside of the square.
    """

    extent = ((-1.0, 1.0), (-1.0, 1.0))

    def __init__(
        self,
        episodes: int = 2,
        horizon: int = 40,
        goals: Sequence[Sequence[float]] | None = None,
        reach: float = 0.2,
        speed: float = 0.5,
        frame_skip: int = 10,
        pictures: bool = False,
        rewarded: bool = True,
        dense: bool = True,
        processes: bool = False,
        timeout: float = 60.0,
    ) -> None:
        super().__init__(episodes, horizon, processes, timeout)
        mujoco()
        if goals is not None and (not goals or any(len(g) != 2 or not all(-1 <= x <= 1 for x in g) for g in goals)):
            raise InputError(f"goals are {goals}; give places (x, y) from -1 to 1, or null for goals anywhere.")
        for name, value in {"reach": reach, "speed": speed, "frame_skip": frame_skip}.items():
            if value <= 0:
                raise InputError(f"{name} is {value}; it must be positive.")
        self.goals, self.reach, self.speed, self.frame_skip = goals, reach, speed, frame_skip
        self.pictures, self.rewarded, self.dense = pictures, rewarded, dense
        self.observation_space = observation_space(pictures)
        self.action_space = spaces.Box(-1, 1, (2,), np.float32)

    def make_one(self) -> PusherRoom:
        """A new table."""
        return PusherRoom(self.goals, self.reach, self.speed, self.frame_skip, self.pictures, self.rewarded, self.dense)


def observation_space(pictures: bool) -> spaces.Box:
    """Pictures, or places of hand and puck."""
    return spaces.Box(0, 255, (3, SIZE, SIZE), np.uint8) if pictures else spaces.Box(-2, 2, (4,), np.float32)
