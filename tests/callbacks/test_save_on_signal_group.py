"""A signal to all processes of a run, as clusters send it: those that read data or hold environments outlive it."""

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from forks import Fork
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer

from lightning_binding.callbacks import SaveOnSignal
from lightning_binding.carml.data import TrialsDataModule
from lightning_binding.carml.meta_rl import MetaRL
from lightning_binding.carml.worlds import GymWorld
from lightning_binding.data import EmojiDataModule
from lightning_binding.rin.module import RINDiffusion


class GroupSender(Callback):
    """Sends a signal to all processes of its group before the second epoch begins, and gives them time to die."""

    def __init__(self, number: signal.Signals) -> None:
        self.number = number

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.current_epoch == 1:
            os.killpg(0, self.number)
            time.sleep(0.5)


def pictures() -> tuple[LightningModule, LightningDataModule]:
    data = EmojiDataModule(image_size=8, batch_size=4, num_workers=2, vendors=["twitter"])
    return RINDiffusion("rin_tiny", {"num_classes": 9}), data


def trials() -> tuple[LightningModule, LightningDataModule]:
    world = GymWorld("CartPole-v1", 1, 5, processes=True)
    return MetaRL(world), TrialsDataModule(envs=2, steps=5, minibatches=1, passes=3, eval_trials=2)


def fit(make: Any, number: signal.Signals, folder: Path) -> None:
    """Fits in a group of its own, with three steps in an epoch."""
    os.setpgid(0, 0)
    model, data = make()
    callbacks = [SaveOnSignal(), GroupSender(number)]
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=5,
        limit_train_batches=3,
        limit_val_batches=0,
        default_root_dir=folder,
        callbacks=callbacks,
        logger=False,
        enable_progress_bar=False,
    )
    with pytest.raises(SystemExit) as stopped:
        trainer.fit(model, data)
    print(f"stopped by {stopped.value.code - 128}, {getattr(model, 'dropped', 0)} dropped")


@pytest.mark.parametrize(
    ("make", "number"), [(pictures, signal.SIGTERM), (pictures, signal.SIGUSR1), (trials, signal.SIGTERM)]
)
def test_the_step_is_saved_though_all_were_told(make: Any, number: signal.Signals, tmp_path: Path) -> None:
    fork = Fork(fit, make, number, tmp_path)
    try:
        status, text = fork.wait(120)
        assert status == 0, text
        assert f"stopped by {number}, 0 dropped" in text
    finally:
        fork.close()
    file = tmp_path / "checkpoints" / "step=4.ckpt"
    assert torch.load(file, weights_only=True)["global_step"] == 4
