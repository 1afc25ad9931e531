"""Worlds of arrays: what holds for each of them as a vector and as an environment of Gymnasium."""

from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from stable_baselines3.common.vec_env import DummyVecEnv

from lightning_binding.carml.worlds import (
    ArrayWorld,
    BernoulliBandit,
    Corridor,
    DarkRoom,
    FindTheArm,
    PointWorld,
    TabularMDP,
    TrialEnv,
    WorldEnv,
)

WORLDS: list[ArrayWorld] = [
    BernoulliBandit(3, 4),
    FindTheArm(3, 4),
    TabularMDP(4, 3, episodes=2, horizon=3),
    DarkRoom(5, episodes=3, horizon=4),
    Corridor(3, episodes=2),
    PointWorld(episodes=2, horizon=5),
    PointWorld(episodes=2, horizon=5, dense=False, discrete=True, noise=0.1),
    PointWorld(episodes=2, horizon=5, pictures=True),
]
NAMES = [f"{type(world).__name__}-{index}" for index, world in enumerate(WORLDS)]
each_world = pytest.mark.parametrize("world", WORLDS, ids=NAMES)


def actions(world: ArrayWorld, count: int, seed: int = 0) -> np.ndarray[Any, Any]:
    world.action_space.seed(seed)
    return np.stack([world.action_space.sample() for _ in range(count)])


@each_world
def test_a_trial_keeps_its_task_and_says_where_episodes_end(world: ArrayWorld) -> None:
    envs = world.make(5, seed=0)
    first = envs.reset()
    assert first.shape == (5, *(world.observation_space.shape or ()))
    tasks = {name: value.copy() for name, value in envs.tasks.items()}
    for time in range(1, world.trial_length + 1):
        seen, rewards, dones, infos = envs.step(actions(world, 5, time))
        assert seen.dtype == world.observation_space.dtype
        assert all(world.observation_space.contains(one) for one in seen)
        assert rewards.shape == (5,)
        assert dones.tolist() == [time == world.trial_length] * 5
        assert all(("final_observation" in info) == (time % world.horizon == 0) for info in infos)
        same = all(np.array_equal(value, tasks[name]) for name, value in envs.tasks.items())
        assert same == (time < world.trial_length)
        if time % world.horizon == 0 and time < world.trial_length:
            np.testing.assert_array_equal(seen, first)  # episodes begin at one place
    np.testing.assert_array_equal(infos[2]["terminal_observation"], infos[2]["final_observation"])


@each_world
def test_a_state_goes_on_as_if_nothing_had_happened(world: ArrayWorld) -> None:
    def play(envs: Any, steps: range) -> list[Any]:
        return [envs.step(actions(world, 4, time))[:3] for time in steps]

    envs = world.make(4, seed=1)
    envs.reset()
    play(envs, range(world.horizon + 1))
    state = envs.get_state()
    expected = play(envs, range(2 * world.trial_length))
    other = world.make(4, seed=2)
    other.reset()
    play(other, range(2))
    other.set_state(state)
    for one, two in zip(expected, play(other, range(2 * world.trial_length)), strict=True):
        for left, right in zip(one, two, strict=True):
            np.testing.assert_array_equal(left, right)


@each_world
def test_as_an_environment_of_gymnasium(world: ArrayWorld) -> None:
    options = {name: getattr(world, name) for name in vars(world) if name in type(world).__init__.__code__.co_varnames}
    env = gymnasium.make(f"lightning_binding/{type(world).__name__}-v0", render_mode="rgb_array", **options)
    check_env(env.unwrapped, skip_render_check=True)
    env.reset(seed=0)
    picture = env.render()
    assert isinstance(picture, np.ndarray)
    assert (picture.dtype, picture.ndim, picture.shape[2]) == (np.uint8, 3, 3)
    for time in range(1, world.horizon + 1):
        *_, truncated, _ = env.step(actions(world, 1, time)[0])
        assert truncated == (time == world.horizon)


@pytest.mark.parametrize("world", [FindTheArm(3, 4), DarkRoom(5, 3, 4), Corridor(3), PointWorld(horizon=5)])
def test_one_by_one_is_as_in_a_vector(world: ArrayWorld) -> None:
    """Two implementations of a trial: the engine on arrays, and `TrialEnv` over single environments."""
    names = type(world).__init__.__code__.co_varnames
    options = {name: getattr(world, name) for name in vars(world) if name in names}
    vector = world.make(4, seed=0)
    single = DummyVecEnv(
        [lambda: TrialEnv(lambda: WorldEnv(type(world), **options), world.episodes, world.horizon) for _ in range(4)]
    )
    tasks = world.draw_tasks(4, np.random.default_rng(3))
    each: list[dict[str, Any]] = [{"task": {name: value[index] for name, value in tasks.items()}} for index in range(4)]
    vector.set_options(each)
    single.set_options(each)
    np.testing.assert_array_equal(vector.reset(), single.reset())
    for time in range(world.trial_length):
        chosen = actions(world, 4, time)
        seen, rewards, dones, infos = vector.step(chosen)
        seen_1, rewards_1, dones_1, infos_1 = single.step(chosen)
        np.testing.assert_array_equal(seen, seen_1)
        np.testing.assert_array_equal(rewards, rewards_1)
        np.testing.assert_array_equal(dones, dones_1)
        for info, info_1 in zip(infos, infos_1, strict=True):
            assert info.get("success") == info_1.get("success")
            for name in ("final_observation", "terminal_observation"):
                np.testing.assert_array_equal(info.get(name), info_1.get(name))  # type: ignore[arg-type]
        places = vector.positions()
        if places is not None:
            np.testing.assert_allclose(places, [info["position"] for info in infos_1])


def test_vectors_of_other_seeds_differ() -> None:
    drawn = []
    for seed in (0, 1, 0):
        envs = BernoulliBandit(5, 10).make(8, seed)
        envs.reset()
        drawn.append(envs.tasks["chance"])
    assert not np.array_equal(drawn[0], drawn[1])
    np.testing.assert_array_equal(drawn[0], drawn[2])
