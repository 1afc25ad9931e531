"""Trials of environments of others: what their task is, how long they are, and what happens when they break."""

import os
import time
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from lightning_binding.carml.worlds import EnvWorld, GymWorld, TrialEnv
from lightning_binding.errors import InputError


class Layout(gymnasium.Env[Any, Any]):
    """Shows a number that the seed chooses, and ends after `length` steps; may raise, die or hang at a step."""

    observation_space = spaces.Box(-1, 1, (2,), np.float32)
    action_space = spaces.Discrete(2)

    def __init__(self, length: int = 100, trouble: str = "", at: int = -1) -> None:
        self.length, self.trouble, self.at, self.clock, self.number = length, trouble, at, 0, 0.0

    def _seen(self) -> Any:
        return np.array([self.number, self.clock / 100], np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self.number, self.clock = float(self.np_random.uniform(0.1, 1)), 0
        return self._seen(), {}

    def step(self, action: Any) -> Any:
        self.clock += 1
        if self.clock == self.at and self.trouble == "raise":
            raise ValueError("the engine stopped")
        if self.clock == self.at and self.trouble == "die":
            os._exit(3)
        if self.clock == self.at and self.trouble == "hang":
            time.sleep(60)
        return self._seen(), 1.0, self.clock >= self.length, False, {"is_success": self.clock >= self.length}


class Troubled(EnvWorld):
    """Layouts of which the first is in trouble, once."""

    observation_space, action_space = Layout.observation_space, Layout.action_space

    def __init__(self, trouble: str, processes: bool, flag: str, timeout: float = 20.0) -> None:
        super().__init__(2, 3, processes, timeout)
        self.trouble, self.flag = trouble, flag

    def make_one(self) -> gymnasium.Env[Any, Any]:
        try:
            os.close(os.open(self.flag, os.O_CREAT | os.O_EXCL))  # the first alone
        except FileExistsError:
            return Layout()
        return Layout(trouble=self.trouble, at=2)


def test_the_seed_is_the_task_of_an_environment_without_tasks() -> None:
    env = TrialEnv(Layout, episodes=3, horizon=4)
    first, _ = env.reset(seed=0)
    shown = [first[0]]
    for step in range(1, 13):
        seen, reward, terminated, truncated, info = env.step(0)
        shown.append(seen[0])
        assert (reward, terminated, truncated) == (1.0, step == 12, False)
        assert ("final_observation" in info) == (step % 4 == 0)
    assert len(set(shown)) == 1  # one layout in all episodes
    assert env.reset()[0][0] != first[0]
    assert env.reset(seed=0)[0][0] == first[0]


def test_an_episode_that_ends_early_waits() -> None:
    env = TrialEnv(lambda: Layout(length=2), episodes=2, horizon=4)
    env.reset(seed=0)
    steps = [env.step(0) for _ in range(8)]
    assert [step[1] for step in steps] == [1, 1, 0, 0] * 2
    assert [round(float(step[0][1] * 100)) for step in steps] == [1, 2, 2, 0, 1, 2, 2, 2]
    assert [step[4].get("success") for step in steps] == [None, None, None, True] * 2


def test_an_environment_that_raises_is_made_anew_for_the_next_trial() -> None:
    made: list[Layout] = []

    def make() -> Layout:
        made.append(Layout(trouble="raise" if not made else "", at=2))
        return made[-1]

    env = TrialEnv(make, episodes=2, horizon=2)
    env.reset(seed=0)
    steps = [env.step(0) for _ in range(4)]
    assert ["broken" in step[4] for step in steps] == [False, True, True, True]
    assert steps[1][4]["broken"] == "an environment raised ValueError at step 1 of a trial: the engine stopped."
    assert [step[1] for step in steps] == [1, 0, 0, 0]
    assert not np.any(steps[2][0])
    assert [step[2] for step in steps] == [False] * 3 + [True]
    env.reset()
    assert not any("broken" in env.step(0)[4] for _ in range(4))
    assert len(made) == 2


@pytest.mark.parametrize(
    ("trouble", "processes", "timeout", "message"),
    [
        ("raise", False, 20, "raised ValueError at step 1"),
        ("raise", True, 20, "raised ValueError at step 1"),
        ("die", True, 20, "the process of an environment died"),
        ("hang", True, 2, "did not answer within 2 s"),
    ],
)
def test_a_vector_goes_on_when_one_breaks(
    trouble: str, processes: bool, timeout: float, message: str, tmp_path: Any
) -> None:
    world = Troubled(trouble, processes, str(tmp_path / "flag"), timeout)
    envs = world.make(2, seed=0)
    try:
        envs.reset()
        broken = []
        for step in range(1, 2 * world.trial_length + 1):
            seen, rewards, dones, infos = envs.step(np.zeros(2, int))
            assert seen.shape == (2, 2)
            assert dones.tolist() == [step % 6 == 0] * 2
            assert all(("final_observation" in info) == (step % 3 == 0) for info in infos)
            broken.append([info.get("broken", "") for info in infos])
            for alone in np.flatnonzero(rewards == 0):
                assert broken[-1][alone]
        index = 0 if broken[1][0] else 1
        assert [bool(each[index]) for each in broken] == [False] + [True] * 5 + [False] * 6
        assert not any(each[1 - index] for each in broken)
        assert message in broken[1][index]
        assert seen[:, 0].all()  # both show a layout again
    finally:
        envs.close()


def test_pictures_are_turned() -> None:
    class Picture(Layout):
        observation_space = spaces.Box(0, 255, (6, 5, 3), np.uint8)

        def _seen(self) -> Any:
            return np.arange(90, dtype=np.uint8).reshape(6, 5, 3)

    env = TrialEnv(Picture, 1, 2)
    assert env.observation_space == spaces.Box(0, 255, (3, 6, 5), np.uint8)
    np.testing.assert_array_equal(env.reset()[0], np.arange(90).reshape(6, 5, 3).transpose(2, 0, 1))
    assert env.step(0)[0].shape == (3, 6, 5)


def test_any_environment_of_the_registry() -> None:
    world = GymWorld("CartPole-v1", episodes=2, horizon=30)
    envs = world.make(3, seed=0)
    seen = envs.reset()
    assert seen.shape == (3, 4)
    firsts = [seen]
    for _ in range(60):
        seen, *_ = envs.step(np.zeros(3, int))
        firsts.append(seen)
    np.testing.assert_array_equal(firsts[30], firsts[0])  # the same seed begins the second episode
    assert not np.array_equal(firsts[60], firsts[0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"env": "NoSuch-v0"}, "the environment NoSuch-v0 cannot be made"),
        ({"env": "nomodule:Env-v0"}, "the environment nomodule:Env-v0 cannot be made: No module named 'nomodule'"),
        ({"env": "MountainCar-v0", "horizon": 300}, "ends after 200 steps, before the horizon of 300"),
    ],
)
def test_wrong_environments_are_explained(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        GymWorld(**{"episodes": 2, "horizon": 10, **options})
