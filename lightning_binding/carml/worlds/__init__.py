"""Worlds: distributions of tasks, and the environments to try them in."""

from lightning_binding.carml.worlds.arrays import ArrayVecEnv, ArrayWorld
from lightning_binding.carml.worlds.bandit import BernoulliBandit, FindTheArm
from lightning_binding.carml.worlds.base import World
from lightning_binding.carml.worlds.dark_room import Corridor, DarkRoom
from lightning_binding.carml.worlds.mdp import TabularMDP
from lightning_binding.carml.worlds.point import PointWorld

__all__ = [
    "ArrayVecEnv",
    "ArrayWorld",
    "BernoulliBandit",
    "Corridor",
    "DarkRoom",
    "FindTheArm",
    "PointWorld",
    "TabularMDP",
    "World",
]
