"""The room of Doom: its maps, what is seen and done in it, and that no engine outlives its process."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_binding import InputError
from lightning_binding.carml.worlds import DoomRoomWorld
from lightning_binding.carml.worlds.doom_map import APART, WALL_GAP, Layout, draw_layout
from lightning_binding.carml.worlds.doom_room import DoomRoom

pytest.importorskip("vizdoom")
pytest.importorskip("omg")

AHEAD = Layout(("green_pillar", "red_torch"), np.array([[0.0, 60.0], [-150.0, 100.0]]), np.array([0.0, -216.0]))
ASIDE = Layout(("green_pillar",), np.array([[-150.0, 0.0]]), np.array([0.0, -216.0]))


@pytest.fixture(scope="module")
def room() -> Iterator[DoomRoom]:
    env = DoomRoom([AHEAD, ASIDE], 256.0)
    yield env
    env.close()


@given(st.integers(0, 10**6), st.integers(0, 6))
def test_objects_are_apart(seed: int, count: int) -> None:
    layout = draw_layout(["barrel"] * count, 256.0, np.random.default_rng(seed))
    points = np.concatenate([layout.start[None], layout.places])
    apart = np.hypot(*(points[:, None] - points).transpose(2, 0, 1)) + 1e9 * np.eye(len(points))
    assert apart.min() >= APART
    assert np.abs(layout.places).max(initial=0) <= 256 - WALL_GAP


def test_what_is_done_moves_the_player(room: DoomRoom) -> None:
    _, start = room.reset(options={"task": {"map": 0, "goal": 0}})
    assert start["position"] == pytest.approx([0, -216 / 256])
    assert start["angle"] == pytest.approx(np.pi / 2)
    for _ in range(4):
        forward = room.step(0)[4]
    assert forward["position"][0] == pytest.approx(0, abs=1e-3)
    assert -0.8 < forward["position"][1] < 0
    left = [room.step(1)[4]["angle"] for _ in range(4)]
    assert np.diff(left)[1:] == pytest.approx(np.full(2, np.deg2rad(20)), abs=1e-3)
    right = [room.step(2)[4]["angle"] for _ in range(4)]
    assert np.diff(right)[1:] == pytest.approx(np.full(2, -np.deg2rad(20)), abs=1e-3)


def test_the_goal_is_reached_by_walking_into_it(room: DoomRoom) -> None:
    room.reset(options={"task": {"map": 0, "goal": 0}})
    steps = [room.step(0) for _ in range(20)]
    distances = [np.hypot(*(info["position"] * 256 - AHEAD.places[0])) for *_, info in steps]
    assert distances[0] > 64 > distances[-1] > 30  # it is solid
    for distance, (_, reward, terminated, truncated, info) in zip(distances, steps, strict=True):
        assert reward == float(distance < 64)
        assert info["success"] == (min(distances[: distances.index(distance) + 1]) < 64)
        assert not terminated
        assert not truncated
    room.reset(options={"task": {"map": 0, "goal": 1}})
    assert not [True for _ in range(20) if room.step(0)[1]]  # another goal of the same room
    assert not room.reached


def test_nearness_can_be_paid_and_nothing_at_all(room: DoomRoom) -> None:
    room.reset(options={"task": {"map": 0, "goal": 0}})
    for dense, rewarded in ((True, True), (True, False), (False, False)):
        room.dense, room.rewarded = dense, rewarded
        _, reward, *_, info = room.step(0)
        distance = np.hypot(*(info["position"] * 256 - AHEAD.places[0]))
        assert reward == pytest.approx((1 - distance / 512) * rewarded)
    room.dense, room.rewarded = True, True
    room.peak, room.width, room.power = 0.25, 0.5, 2.0
    _, reward, *_, info = room.step(0)
    distance = np.hypot(*(info["position"] - AHEAD.places[0] / 256))
    assert reward == pytest.approx(0.25 * (1 - 4 * distance**2))
    room.dense, room.peak, room.width, room.power = False, 1.0, 2.0, 1.0


def test_pictures_show_the_room(room: DoomRoom) -> None:
    pictures = {}
    for number in (0, 1, 0):
        seen, info = room.reset(options={"task": {"map": number, "goal": 0}})
        assert seen.shape == (3, 64, 64)
        assert room.observation_space.contains(seen)
        assert info["objects"] == pytest.approx((AHEAD, ASIDE)[number].places / 256)
        if number in pictures:
            assert np.array_equal(pictures[number], seen)  # nothing is left of what was before
        pictures[number] = seen
        whole = room.render()
        assert whole.shape == (120, 160, 3)
        assert seen.mean((1, 2)) == pytest.approx(whole.mean((0, 1)), abs=1)
    floor = pictures[0][:, -8:].mean((1, 2))
    assert floor[2] > 2 * floor[:2].max()  # blue
    middle = slice(24, 40)
    ahead, aside = (pictures[number][1, 20:50, middle].max() for number in (0, 1))
    assert int(ahead) - int(aside) > 30  # the green pillar is in the middle of one room alone


def test_tasks_are_rooms_and_objects(room: DoomRoom) -> None:
    tasks = [room.sample_task(np.random.default_rng(seed)) for seed in range(60)]
    assert {(task["map"], task["goal"]) for task in tasks} == {(0, 0), (0, 1), (1, 0)}


def test_trials_in_processes() -> None:
    world = DoomRoomWorld(episodes=2, horizon=3, maps=3)
    envs = world.make(2, 0)
    try:
        first = envs.reset()
        assert first.shape == (2, 3, 64, 64)
        for step in range(1, 7):
            seen, _, dones, infos = envs.step(np.zeros(2, np.int64))
            assert dones.tolist() == [step == 6] * 2
            assert all(abs(info["position"]).max() <= 1 for info in infos)
            assert all(("success" in info) == (step % 3 == 0) for info in infos)
            if step == 3:
                assert np.array_equal(seen, first)  # the same room, from its start
                assert not np.array_equal(infos[0]["final_observation"], seen[0])
    finally:
        envs.close()


def test_one_map_is_fixed_and_another_seed_is_another_room() -> None:
    fixed, again, other = DoomRoomWorld(), DoomRoomWorld(), DoomRoomWorld(map_seed=1)
    assert np.array_equal(fixed.layouts[0].places, again.layouts[0].places)
    assert not np.array_equal(fixed.layouts[0].places, other.layouts[0].places)
    many = DoomRoomWorld(maps=20).layouts
    assert len({layout.places.tobytes() for layout in many}) == 20


def children(process: int | str = "self") -> set[int]:
    """The processes that a process has begun (Linux)."""
    lists = [file.read_text() for file in Path(f"/proc/{process}/task").glob("*/children")]
    return {int(number) for line in lists for number in line.split()}


def running(process: int) -> bool:
    """Whether a process is there, and not only as the entry of one that ended."""
    try:
        with open(f"/proc/{process}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def ends(process: int, seconds: float = 10) -> bool:
    """Whether a process ends before long."""
    end = time.monotonic() + seconds
    while running(process) and time.monotonic() < end:
        time.sleep(0.05)
    return not running(process)


SCRIPT = """
import lightning_binding, time
from lightning_binding.carml.worlds import DoomRoomWorld
room = DoomRoomWorld().make_one()
print("open", flush=True)
time.sleep(120)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="children are looked up in /proc")
def test_no_engine_is_left() -> None:
    before = children()
    env = DoomRoomWorld().make_one()
    begun = children() - before
    assert len(begun) == 1
    env.close()
    env.close()
    assert all(ends(process) for process in begun)
    with subprocess.Popen([sys.executable, "-c", SCRIPT], stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == "open\n"
        left = children(owner.pid)
        assert all(running(process) for process in left)
        os.kill(owner.pid, signal.SIGKILL)
    assert len(left) == 1
    assert all(ends(process) for process in left)


def test_wrong_input(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="there is no object 'blue_tree' in Doom's rooms; did you mean"):
        DoomRoomWorld(objects=["blue_tree"])
    with pytest.raises(InputError, match="60 objects have no room in a square of 512"):
        DoomRoomWorld(objects=["barrel"] * 60)
    with pytest.raises(InputError, match="maps is 0"):
        DoomRoomWorld(maps=0)
    with pytest.raises(InputError, match="width is 0"):
        DoomRoomWorld(dense=True, width=0)
    for package in ("vizdoom", "omg"):
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, package, None)
            with pytest.raises(InputError, match=rf"needs the package {package}.*lightning-binding\[doom\]"):
                DoomRoomWorld()
