"""Worlds: distributions of tasks, and the environments to try them in."""

from lightning_binding.carml.worlds.arrays import ArrayVecEnv, ArrayWorld
from lightning_binding.carml.worlds.bandit import BernoulliBandit, FindTheArm
from lightning_binding.carml.worlds.base import World

__all__ = ["ArrayVecEnv", "ArrayWorld", "BernoulliBandit", "FindTheArm", "World"]
