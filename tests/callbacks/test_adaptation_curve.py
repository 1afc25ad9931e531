"""The curve of a trial: the mean over all batches of what each step paid, without broken trials."""

from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Trainer
from PIL import Image

from lightning_binding.callbacks import AdaptationCurve
from lightning_binding.carml.data import TrialsDataModule
from lightning_binding.carml.memory import GRU
from lightning_binding.carml.meta_rl import MetaRL
from lightning_binding.carml.worlds import PointWorld


class Noted(MetaRL):
    """Keeps the rollouts of evaluation, and breaks a trial of each."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.seen: list[Any] = []

    def validation_step(self, batch: Any, batch_idx: int) -> Any:
        batch.valid[1] = False
        batch.world_rewards[:, 1] = 1e6
        self.seen.append(batch)
        return super().validation_step(batch, batch_idx)


def test_the_curve_is_the_mean_of_each_step(tmp_path: Path) -> None:
    module, callback = Noted(world=PointWorld(episodes=2, horizon=3), memory=GRU(8)), AdaptationCurve()
    trainer = Trainer(
        max_epochs=3, accelerator="cpu", logger=False, enable_progress_bar=False, enable_checkpointing=False,
        default_root_dir=tmp_path, callbacks=[callback], num_sanity_val_steps=0,
    )  # fmt: skip
    trainer.fit(module, TrialsDataModule(envs=4, eval_trials=12))
    assert list(callback.curves) == [16, 32, 48]
    last = torch.cat([each.world_rewards[:, each.valid] for each in module.seen[-3:]], 1)
    torch.testing.assert_close(callback.curves[48], last.mean(1))
    torch.testing.assert_close(trainer.callback_metrics["val/return"], last.sum(0).mean())
    assert Image.open(tmp_path / "adaptation.png").size[0] > 300
    again = AdaptationCurve()
    again.load_state_dict(callback.state_dict())
    assert again.curves.keys() == callback.curves.keys()
    trainer.validate(module, TrialsDataModule(envs=4, eval_trials=4), verbose=False)
    assert list(callback.curves) == [16, 32, 48]
