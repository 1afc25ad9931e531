"""A room of Doom as an environment of Gymnasium: pictures in, steps and turns out."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray
from PIL import Image

from lightning_binding.carml.worlds.doom_map import Layout, write_maps
from lightning_binding.doom import begin, vizdoom

ACTIONS = ((1.0, 0.0), (0.0, -1.0), (0.0, 1.0))  # forward, turn left, turn right
SIZE = 64


class DoomRoom(gymnasium.Env[NDArray[np.uint8], Any]):
    """One engine of ViZDoom, and the rooms that it plays.

    A task is a room and an object in it: the number of the map and that of the goal. `info` has the true `position` of
    the player and the places of all `objects`, in units of half the room's side, the `angle` in radians, and `success`:
    whether the goal was reached in this episode.

    Args:
        layouts: The rooms; a trial is in one of them.
        half: Half of a room's side, in map units.
        frame_skip: Tics of the game in a step, of which a second has 35.
        speed: How strongly a step forward pushes, of the game's 50 at most.
        turn: Degrees of a turn in a step.
        reach: Distance to the goal's middle that counts as reached, in map units; the two touch at about 36.
        rewarded: Pay at all: the peak in every step that ends within reach of the goal.
        dense: Pay the nearness instead, peak * (1 - (distance / width) ** power).
        peak: What is paid at the goal.
        width: Distance from the goal at which nearness is 0, in units of half the room's side.
        power: How nearness falls off.
        render_mode: `rgb_array` or None.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 9}  # noqa: RUF012  (so in Gymnasium)
    observation_space = spaces.Box(0, 255, (3, SIZE, SIZE), np.uint8)
    action_space = spaces.Discrete(len(ACTIONS))

    def __init__(
        self,
        layouts: Sequence[Layout],
        half: float,
        frame_skip: int = 4,
        speed: float = 25.0,
        turn: float = 20.0,
        reach: float = 64.0,
        rewarded: bool = True,
        dense: bool = False,
        peak: float = 1.0,
        width: float = 2.0,
        power: float = 1.0,
        render_mode: str | None = "rgb_array",
    ) -> None:
        self.layouts, self.half, self.frame_skip = layouts, half, frame_skip
        self.speed, self.turn, self.reach = speed, turn, reach
        self.rewarded, self.dense, self.render_mode = rewarded, dense, render_mode
        self.peak, self.width, self.power = peak, width, power
        self.map, self.goal, self.reached = 0, 0, False
        self._screen: NDArray[np.uint8] = np.zeros((120, 160, 3), np.uint8)
        self._folder = tempfile.TemporaryDirectory(prefix="doom-room-")
        self._maps = write_maps(layouts, half, Path(self._folder.name) / "rooms.wad")
        self._game: Any = open_room(Path(self._folder.name) / "rooms.wad", self._maps[0])
        self._loaded = 0

    def sample_task(self, generator: np.random.Generator) -> dict[str, int]:
        """A room, and an object in it."""
        number = int(generator.integers(len(self.layouts)))
        return {"map": number, "goal": int(generator.integers(len(self.layouts[number].objects)))}

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.uint8], dict[str, Any]]:
        """Begins an episode at the start of a room; `options={"task": ...}` says which, and what the goal is."""
        super().reset(seed=seed)
        task = (options or {}).get("task") or self.sample_task(self.np_random)
        self.map, self.goal, self.reached = int(task["map"]), int(task["goal"]), False
        if self.map != self._loaded:
            self._game.set_doom_map(self._maps[self.map])
            self._loaded = self.map
        self._game.set_seed(0)  # flames flicker alike in all episodes
        self._game.new_episode()
        place, angle = self._look()
        return self._picture(), self._info(place, angle)

    def step(self, action: int) -> tuple[NDArray[np.uint8], float, bool, bool, dict[str, Any]]:
        """Goes forward or turns, for `frame_skip` tics."""
        forward, turned = ACTIONS[int(action)]
        self._game.make_action([forward * self.speed, turned * self.turn / self.frame_skip], self.frame_skip)
        place, angle = self._look()
        distance = float(np.hypot(*(place - self.layouts[self.map].places[self.goal])))
        self.reached |= distance < self.reach
        return self._picture(), self._pay(distance) if self.rewarded else 0.0, False, False, self._info(place, angle)

    def _pay(self, distance: float) -> float:
        """For a step that ends at a distance from the goal, in map units."""
        apart = distance / self.half
        nearness = 1 - (apart / self.width) ** self.power if self.dense else float(distance < self.reach)
        return self.peak * nearness

    def _look(self) -> tuple[NDArray[np.float64], float]:
        """Takes down the screen; returns place and angle."""
        state = self._game.get_state()
        self._screen = state.screen_buffer
        x, y, angle = state.game_variables
        return np.array([x, y]), float(np.deg2rad(angle))

    def _picture(self) -> NDArray[np.uint8]:
        small = Image.fromarray(self._screen).resize((SIZE, SIZE), Image.Resampling.BOX)
        return np.ascontiguousarray(np.asarray(small).transpose(2, 0, 1))

    def _info(self, place: NDArray[np.float64], angle: float) -> dict[str, Any]:
        objects = self.layouts[self.map].places / self.half
        return {"position": place / self.half, "angle": angle, "objects": objects, "success": self.reached}

    def render(self) -> Any:
        """The screen, uint8 (120, 160, 3)."""
        return self._screen.copy()

    def close(self) -> None:
        """Ends the engine."""
        if self._game is not None:
            self._game.close()
            self._game = None
            self._folder.cleanup()


def open_room(wad: Path, name: str) -> Any:
    """Starts an engine for the maps of a WAD.

    Args:
        wad: The maps.
        name: The first map.

    Raises:
        InputError: If ViZDoom is not installed.
    """
    package = vizdoom("a room of Doom")
    game = package.DoomGame()
    game.set_doom_game_path(str(Path(package.__file__).parent / "freedoom2.wad"))
    game.set_doom_scenario_path(str(wad))
    game.set_doom_map(name)
    game.set_screen_resolution(package.ScreenResolution.RES_160X120)
    game.set_screen_format(package.ScreenFormat.RGB24)
    game.set_available_buttons([package.Button.MOVE_FORWARD_BACKWARD_DELTA, package.Button.TURN_LEFT_RIGHT_DELTA])
    variable = package.GameVariable
    game.set_available_game_variables([variable.POSITION_X, variable.POSITION_Y, variable.ANGLE])
    begin(game)
    return game
