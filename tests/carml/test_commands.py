"""`lightning-binding play`: the video shows the trial, its rewards and where episodes begin."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer
from PIL import Image

from lightning_binding.carml.data import TrialsDataModule
from lightning_binding.carml.memory import GRU
from lightning_binding.carml.meta_rl import MetaRL
from lightning_binding.carml.playing import GAIN, LOSS, frame, play_trials
from lightning_binding.carml.worlds import FindTheArm, GymWorld, PointWorld
from lightning_binding.cli import main
from lightning_binding.crw.module import ContrastiveRandomWalk
from lightning_binding.errors import InputError
from lightning_binding.export import save


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    module = MetaRL(PointWorld(episodes=2, horizon=3, goals=[[0.5, 0.5]]), memory=GRU(8))
    trainer = Trainer(
        max_epochs=1, accelerator="cpu", logger=False, enable_progress_bar=False, limit_val_batches=0,
        default_root_dir=tmp_path, enable_checkpointing=False,
    )  # fmt: skip
    trainer.fit(module, TrialsDataModule(envs=4))
    trainer.save_checkpoint(tmp_path / "point.ckpt")
    return tmp_path / "point.ckpt"


def test_play_writes_a_video_of_whole_trials(checkpoint: Path, tmp_path: Path) -> None:
    path = main(["play", "--ckpt_path", str(checkpoint), "--trials", "2", "--out", str(tmp_path / "videos" / "a.gif")])
    picture = Image.open(path)
    assert picture.n_frames == 2 * (1 + 6)  # type: ignore[attr-defined]
    options = ["--world", "PointWorld", "--world.episodes=3", "--world.horizon=2", "--world.goals=[[-0.9,-0.9]]"]
    other = main(["play", "--ckpt_path", str(checkpoint), "--trials=1", f"--out={tmp_path / 'b.gif'}", *options])
    assert Image.open(other).n_frames == 7  # type: ignore[attr-defined]


def test_what_is_played_can_be_played_again() -> None:
    module = MetaRL(PointWorld(episodes=2, horizon=3), memory=GRU(8))
    first, again, other = (
        torch.stack(list(play_trials(module, module.world, 2, seed, deterministic=False))) for seed in (0, 0, 1)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def columns(picture: torch.Tensor, colour: tuple[int, int, int]) -> np.ndarray[Any, Any]:
    """How many pixels of a column have a colour."""
    found: np.ndarray[Any, Any] = (picture == torch.tensor(colour)[:, None, None]).all(0).sum(0).numpy()
    return found


def test_a_bar_is_as_high_as_its_reward() -> None:
    world = PointWorld(episodes=2, horizon=2)
    drawn = frame(np.zeros((40, 80, 3), np.uint8), [1.0, 0.5, -1.0], world, 0)
    assert drawn.shape[2] == 320
    gains, losses = columns(drawn, GAIN), columns(drawn, LOSS)
    quarter = (drawn.shape[2] - 12) / 4
    middles = [round(6 + quarter * (place + 0.5)) for place in range(4)]
    assert gains[middles[0]] == pytest.approx(2 * gains[middles[1]], abs=2)
    assert losses[middles[2]] == pytest.approx(gains[middles[0]], abs=2)
    assert gains[middles[3]] == losses[middles[3]] == 0


def test_the_world_s_own_picture_is_shown_or_what_the_agent_sees() -> None:
    world = PointWorld(episodes=1, horizon=1, goals=[[0.0, 0.8]])
    module = MetaRL(world, memory=GRU(8))
    first = next(play_trials(module, world, 1, 0, deterministic=True))
    assert columns(first, (230, 150, 20)).sum() > 500  # the goal
    cartpole = GymWorld("CartPole-v1", 1, 2)
    with pytest.raises(InputError, match="the world has nothing to look at"):
        next(play_trials(MetaRL(cartpole, memory=GRU(8)), cartpole, 1, 0, deterministic=True))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--trials=0"], "--trials 0: there must be at least one"),
        (
            ["--world=FindTheArm"],
            "the observation_space of --world is Box(0.0, 1.0, (1,), float32); the agent was made",
        ),
        (["--out=trial.avi"], "videos are written as .mp4 or .gif"),
        (["--ckpt_path=none.ckpt"], "there is no file none.ckpt"),
    ],
)
def test_what_cannot_be_played_is_explained(
    options: list[str], message: str, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["play", "--ckpt_path", str(checkpoint), *options])
    assert message in capsys.readouterr().err


def test_a_model_that_does_not_act_is_explained(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save(ContrastiveRandomWalk("emoji_resnet", layer="layer2", stride=4), tmp_path / "walk.safetensors")
    with pytest.raises(SystemExit):
        main(["play", "--ckpt_path", str(tmp_path / "walk.safetensors")])
    assert "holds a ContrastiveRandomWalk, which does not act" in capsys.readouterr().err


def test_an_exported_agent_acts_as_before(tmp_path: Path) -> None:
    module = MetaRL(FindTheArm(3, 4), memory=GRU(8))
    save(module, tmp_path / "agent.safetensors")
    path = main(["play", f"--ckpt_path={tmp_path / 'agent.safetensors'}", f"--out={tmp_path / 'a.gif'}", "--trials=1"])
    assert Image.open(path).n_frames <= 5  # type: ignore[attr-defined]  # frames that do not differ are one
