"""Worlds: distributions of tasks, and the environments to try them in."""

import gymnasium

from lightning_binding.carml.worlds.arrays import ArrayVecEnv, ArrayWorld
from lightning_binding.carml.worlds.bandit import BernoulliBandit, FindTheArm
from lightning_binding.carml.worlds.base import World
from lightning_binding.carml.worlds.dark_room import Corridor, DarkRoom
from lightning_binding.carml.worlds.doom import DoomRoomWorld
from lightning_binding.carml.worlds.envs import EnvWorld, GymWorld
from lightning_binding.carml.worlds.mdp import TabularMDP
from lightning_binding.carml.worlds.point import PointWorld
from lightning_binding.carml.worlds.pusher import PusherWorld
from lightning_binding.carml.worlds.single import TrialEnv, WorldEnv

__all__ = [
    "ArrayVecEnv",
    "ArrayWorld",
    "BernoulliBandit",
    "Corridor",
    "DarkRoom",
    "DoomRoomWorld",
    "EnvWorld",
    "FindTheArm",
    "GymWorld",
    "PointWorld",
    "PusherWorld",
    "TabularMDP",
    "TrialEnv",
    "World",
    "WorldEnv",
]

for _world in (BernoulliBandit, Corridor, DarkRoom, FindTheArm, PointWorld, TabularMDP):
    _id = f"lightning_binding/{_world.__name__}-v0"
    if _id not in gymnasium.registry:
        gymnasium.register(_id, f"{WorldEnv.__module__}:WorldEnv", kwargs={"world": _world})
