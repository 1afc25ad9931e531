"""The pusher: the puck goes where it is pushed, pictures show it, and what is missing is named."""

import ctypes.util
import os
import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import pytest

from lightning_binding import InputError
from lightning_binding.carml.worlds import PusherWorld
from lightning_binding.carml.worlds.pusher import HAND, PUCK, PusherRoom

pytest.importorskip("mujoco")
UP, STILL = np.array([0, 1], np.float32), np.zeros(2, np.float32)
renders = pytest.mark.skipif(
    not any(ctypes.util.find_library(name) for name in ("EGL", "OSMesa")), reason="nothing renders here"
)


@pytest.fixture
def table() -> Iterator[PusherRoom]:
    env = PusherWorld(goals=[[0.0, 0.6]]).make_one()
    yield env
    env.close()


def test_the_puck_goes_where_it_is_pushed(table: PusherRoom) -> None:
    seen, info = table.reset()
    assert seen == pytest.approx([*HAND, *PUCK], abs=1e-6)
    before = info["position"]
    for _ in range(3):
        table.step(STILL)
    assert table._info()["position"] == pytest.approx(before, abs=1e-6)
    hits = []
    for _ in range(14):
        seen, reward, _, _, info = table.step(UP)
        assert reward == pytest.approx(1 - np.hypot(*(info["position"] - [0, 0.6])))
        assert seen == pytest.approx([*info["hand"], *info["position"]], abs=1e-6)
        hits.append(info["success"])
    assert info["position"][1] > PUCK[1] + 0.3
    assert info["position"][0] == pytest.approx(0, abs=0.02)
    assert True in hits
    for _ in range(5):  # a push across misses the puck
        table.reset()
        table.step(np.array([1, 0], np.float32))
    assert table._info()["position"] == pytest.approx(before, abs=1e-6)


def test_hand_and_puck_stay_on_the_table(table: PusherRoom) -> None:
    table.reset()
    random = np.random.default_rng(0)
    for _ in range(300):
        seen = table.step(random.choice([-1, 1], 2).astype(np.float32))[0]
        assert np.abs(seen).max() < 1.1
        assert table.observation_space.contains(seen)


def test_episodes_begin_alike_and_physics_repeats(table: PusherRoom) -> None:
    random = np.random.default_rng(0)
    actions = random.uniform(-1, 1, (20, 2)).astype(np.float32)
    runs = []
    for _ in range(2):
        runs.append([table.reset()[0], *(table.step(action)[0] for action in actions)])
    assert np.array_equal(*runs)


def test_goals_are_drawn_from_those_given() -> None:
    ring = [[0.5, 0.5], [-0.5, 0.5]]
    env = PusherWorld(goals=ring).make_one()
    drawn = {tuple(env.sample_task(np.random.default_rng(seed))) for seed in range(20)}
    assert drawn == {(0.5, 0.5), (-0.5, 0.5)}
    free = PusherWorld(rewarded=False).make_one()
    assert len({tuple(free.sample_task(np.random.default_rng(seed))) for seed in range(9)}) == 9
    free.reset()
    assert free.step(UP)[1] == 0


def test_trials_in_a_vector() -> None:
    world = PusherWorld(episodes=2, horizon=4, dense=False)
    envs = world.make(3, 0)
    first = envs.reset()
    for step in range(1, 9):
        seen, rewards, dones, infos = envs.step(np.tile(UP, (3, 1)))
        assert dones.tolist() == [step == 8] * 3
        assert set(rewards.tolist()) <= {0.0, 1.0}
        assert all(("success" in info) == (step % 4 == 0) for info in infos)
        if step == 4:
            assert np.array_equal(seen, first)
    envs.close()


@renders
def test_pictures_show_hand_and_puck() -> None:
    env = PusherWorld(pictures=True).make_one()
    try:
        seen, _ = env.reset()
        assert env.observation_space.contains(seen)
        white = (seen.min(0) > 150).nonzero()
        rows, columns = white[0].mean(), white[1].mean()
        assert columns == pytest.approx(31.5, abs=1.5)
        assert rows < 32  # up is up
        red = (seen[0].astype(int) - seen[1] > 60).nonzero()
        assert red[0].mean() > rows
        for _ in range(12):
            moved = env.step(UP)[0]
        assert (moved.min(0) > 150).nonzero()[0].mean() < rows - 3
        assert np.array_equal(env.render().transpose(2, 0, 1), moved)
    finally:
        env.close()


def test_without_a_renderer_coordinates_work_and_pictures_say_what_is_missing() -> None:
    script = """
import lightning_binding, numpy as np
from lightning_binding.carml.worlds import PusherWorld
env = PusherWorld().make_one()
env.reset()
print(env.step(np.zeros(2))[0].shape)
try:
    PusherWorld(pictures=True).make_one()
except lightning_binding.InputError as error:
    print(error)
"""
    run = subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | {"MUJOCO_GL": "disable"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.startswith("(4,)\npictures of the pusher cannot be rendered here")
    assert "apt-get install libegl1" in run.stdout


def test_wrong_input(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="goals are"):
        PusherWorld(goals=[[2.0, 0.0]])
    with pytest.raises(InputError, match="speed is 0"):
        PusherWorld(speed=0)
    monkeypatch.setitem(sys.modules, "mujoco", None)
    with pytest.raises(InputError, match=r"the pusher needs the package mujoco.*lightning-binding\[mujoco\]"):
        PusherWorld()
