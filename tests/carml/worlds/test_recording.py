"""stable-baselines3's `VecVideoRecorder` on worlds with `Recall`: a video as long, large and fast as it should be."""

import importlib.util
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from stable_baselines3.common.vec_env import VecVideoRecorder

from lightning_binding.carml.recall import Recall
from lightning_binding.carml.worlds import BernoulliBandit, PointWorld, World

STEPS = 7  # beyond the end of a trial of six


def doom() -> World:
    pytest.importorskip("vizdoom")
    pytest.importorskip("omg")
    from lightning_binding.carml.worlds.doom import DoomRoomWorld

    return DoomRoomWorld(episodes=2, horizon=3, processes=False)


def point(**options: Any) -> World:
    return PointWorld(episodes=2, horizon=3, **options)


WORLDS = [point, lambda: point(pictures=True, discrete=True), lambda: BernoulliBandit(3, 6), doom]


def steps_of(world: World, envs: Any) -> list[np.ndarray]:
    """Steps an environment through; its pictures from the beginning on."""
    envs.seed(3)
    envs.reset()
    frames = [envs.render()]
    envs.action_space.seed(0)
    for _ in range(STEPS):
        envs.step(np.stack([envs.action_space.sample() for _ in range(envs.num_envs)]))
        frames.append(envs.render())
    envs.close()
    return frames


@pytest.mark.parametrize("make", WORLDS, ids=["point", "pictures", "bandit", "doom"])
def test_a_vector_renders_and_says_how_fast(make: Any) -> None:
    world = make()
    envs = Recall(world.make(2, 0))
    assert envs.render_mode == "rgb_array"
    (rate,) = {metadata["render_fps"] for metadata in envs.get_attr("metadata")}
    assert 1 <= rate <= 35
    frames = steps_of(world, envs)
    assert {(frame.dtype, frame.ndim, frame.shape[-1]) for frame in frames} == {(np.dtype(np.uint8), 3, 3)}
    assert len({frame.shape for frame in frames}) == 1
    assert any(not np.array_equal(frames[0], frame) for frame in frames)


@pytest.mark.skipif(importlib.util.find_spec("moviepy") is None, reason="stable-baselines3 records with moviepy")
@pytest.mark.parametrize("make", WORLDS, ids=["point", "pictures", "bandit", "doom"])
def test_a_recorder_writes_what_is_rendered(make: Any, tmp_path: Path) -> None:
    world = make()
    expected = steps_of(world, Recall(world.make(2, 0)))
    recorder = VecVideoRecorder(Recall(world.make(2, 0)), str(tmp_path), lambda step: step == 0, video_length=STEPS)
    steps_of(world, recorder)
    (path,) = tmp_path.glob("*.mp4")
    with av.open(str(path)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        rate = container.streams.video[0].average_rate
    (metadata, _) = Recall(world.make(2, 0)).get_attr("metadata")
    assert float(rate) == metadata["render_fps"]
    assert len(frames) == STEPS + 1
    for found, picture in zip(frames, expected, strict=True):
        assert found.shape == picture.shape
        assert np.abs(found.astype(int) - picture).mean() < 12  # it is compressed
