"""The room of Doom: a square with free-standing objects, seen through the player's eyes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lightning_binding.carml.worlds.doom_map import Layout, draw_layout
from lightning_binding.carml.worlds.doom_room import DoomRoom
from lightning_binding.carml.worlds.envs import EnvWorld
from lightning_binding.errors import InputError
from lightning_binding.extras import imported


class DoomRoomWorld(EnvWorld):
    """Navigation in a room of ViZDoom: pictures (3, 64, 64), three actions, and objects to go to.

    A trial is in one room, and its hidden goal is one of the objects; every episode begins at the room's lower side.
    With one map it is the fixed environment of CARML's experiments, with many the random one, in which objects are at
    other places in every trial. Sizes, actions, and lengths of the paper's room are not verified: these are a choice.

    Args:
        episodes: Inner episodes of a trial.
        horizon: Steps of an inner episode.
        objects: The objects of every room; of blue_torch, red_torch, green_torch, green_pillar, red_pillar,
            tech_column, floor_lamp, tech_lamp, candelabra, stalagmite, burnt_tree, barrel.
        maps: Number of rooms that trials are drawn from.
        map_seed: Of the rooms: another one gives rooms that were not seen.
        size: Side of a room, in map units; the player is 32 wide.
        frame_skip: Tics of the game in a step, of which a second has 35.
        speed: How strongly a step forward pushes, of the game's 50 at most.
        turn: Degrees of a turn in a step.
        reach: Distance to the goal's middle that counts as reached, in map units; the two touch at about 36.
        rewarded: Pay at all: the peak in every step that ends within reach of the goal.
        dense: Pay the nearness to the goal instead, peak * (1 - (distance / width) ** power), as `PointWorld` does.
        peak: What is paid at the goal.
        width: Distance from the goal at which nearness is 0, in units of half the room's side; it is negative beyond.
        power: How nearness falls off: 1 like a cone, 2 like the log-density of a Gaussian.
        processes: Give every environment a process of its own, which is restarted if it dies or hangs.
        timeout: Seconds after which an environment in a process counts as hanging.

    Raises:
        InputError: If ViZDoom or omgifol is not installed, an object is not known, or there is no room for them.
    """

    extent = ((-1.0, 1.0), (-1.0, 1.0))

    def __init__(
        self,
        episodes: int = 2,
        horizon: int = 30,
        objects: Sequence[str] = ("blue_torch", "red_torch", "green_pillar", "tech_column", "floor_lamp"),
        maps: int = 1,
        map_seed: int = 0,
        size: int = 512,
        frame_skip: int = 4,
        speed: float = 25.0,
        turn: float = 20.0,
        reach: float = 64.0,
        rewarded: bool = True,
        dense: bool = False,
        peak: float = 1.0,
        width: float = 2.0,
        power: float = 1.0,
        processes: bool = True,
        timeout: float = 60.0,
    ) -> None:
        super().__init__(episodes, horizon, processes, timeout)
        if not 1 <= maps <= 10_000 or not objects:
            raise InputError(f"maps is {maps}, objects are {list(objects)}; give 1 to 10,000 maps, and an object.")
        for name, value in {"peak": peak, "width": width, "power": power}.items():
            if value <= 0:
                raise InputError(f"{name} is {value}; it must be positive.")
        for package in ("vizdoom", "omg"):
            imported(package, "doom", "a room of Doom")
        self.objects, self.maps, self.map_seed, self.size = objects, maps, map_seed, size
        self.frame_skip, self.speed, self.turn, self.reach = frame_skip, speed, turn, reach
        self.rewarded, self.dense, self.peak, self.width, self.power = rewarded, dense, peak, width, power
        random = np.random.default_rng(map_seed)
        self.layouts: list[Layout] = [draw_layout(objects, size / 2, random) for _ in range(maps)]
        self.observation_space, self.action_space = DoomRoom.observation_space, DoomRoom.action_space

    def make_one(self) -> DoomRoom:
        """A new engine with all the rooms."""
        return DoomRoom(
            self.layouts,
            self.size / 2,
            self.frame_skip,
            self.speed,
            self.turn,
            self.reach,
            self.rewarded,
            self.dense,
            self.peak,
            self.width,
            self.power,
        )
