"""Novelty: what was seen pays less, what is scaled stays scaled, and a stop leaves no trace."""

from pathlib import Path

import numpy as np
import pytest
import torch
from gymnasium import spaces
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from lightning_binding import InputError
from lightning_binding.carml.data import TrialsDataModule
from lightning_binding.carml.memory import GRU
from lightning_binding.carml.rnd import NoveltyReward, RNDPretraining
from lightning_binding.carml.worlds import PointWorld


def paid(reward: NoveltyReward, states: torch.Tensor) -> np.ndarray:
    return reward(torch.zeros(len(states)), {"observation": states.numpy()}, np.zeros(len(states)))


def test_what_was_seen_pays_less_than_what_is_new() -> None:
    space = spaces.Box(-1, 1, (2,), np.float32)
    reward = NoveltyReward(space, "observation", None, 16, 3e-3, 1.0)
    seen = torch.rand(2048, 2) - torch.tensor([1.0, 0.5])  # the left half
    for _ in range(20):
        reward.learn(seen)
    new = seen + torch.tensor([1.0, 0.0])
    assert paid(reward, new).mean() > 5 * paid(reward, seen).mean()
    reward.errors = type(reward.errors)(())
    reward.errors.add(torch.tensor([1.0, 3.0]))  # deviation 1
    ones = paid(reward, seen)
    reward.scale = 0.5
    assert paid(reward, seen) == pytest.approx(ones / 2)


def test_pictures_too() -> None:
    space = spaces.Box(0, 255, (3, 64, 64), np.uint8)
    reward = NoveltyReward(space, "observation", None, 8, 1e-3, 1.0)
    dark = torch.randint(40, (64, 3, 64, 64), dtype=torch.uint8)
    for _ in range(15):
        reward.learn(dark, 32)
    assert paid(reward, dark + 180).mean() > 3 * paid(reward, dark).mean()


def module() -> RNDPretraining:
    torch.manual_seed(0)
    return RNDPretraining(PointWorld(episodes=2, horizon=5, rewarded=True), memory=GRU(8), reward_scale=0.1)


def fit(rnd: RNDPretraining, **options: object) -> Trainer:
    checkpoint = options.pop("ckpt_path", None)
    given = {"accelerator": "cpu", "logger": False, "enable_progress_bar": False, "limit_val_batches": 0}
    trainer = Trainer(**given, enable_model_summary=False, **options)  # type: ignore[arg-type]
    trainer.fit(rnd, TrialsDataModule(envs=8, minibatches=2, passes=1), ckpt_path=checkpoint, weights_only=True)  # type: ignore[arg-type]
    return trainer


def test_a_stop_leaves_no_trace(tmp_path: Path) -> None:
    whole = module()
    saving = ModelCheckpoint(tmp_path, every_n_train_steps=1, save_top_k=-1, filename="{step}")
    fit(whole, max_epochs=6, callbacks=[saving])
    resumed = module()
    fit(resumed, max_epochs=6, ckpt_path=tmp_path / "step=5.ckpt", enable_checkpointing=False)
    for ours, expected in zip(resumed.agent.parameters(), whole.agent.parameters(), strict=True):
        assert torch.equal(ours, expected)
    state, other = whole.reward_model.state_dict(), resumed.reward_model.state_dict()
    for part in ("target", "predictor"):
        for name, value in state[part].items():
            assert torch.equal(other[part][name], value)
    assert state["seen"]["count"] == other["seen"]["count"] == 6 * 8 * 10


def test_wrong_input() -> None:
    with pytest.raises(InputError, match="the observations have observation"):
        RNDPretraining(PointWorld(), observed="picture")
