"""On two ranks: one scaffold of what both have done, a checkpoint that holds both reservoirs, what is logged."""

import csv
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from two_ranks import fit

from lightning_binding.carml.scaffold import Scaffold
from lightning_binding.weights import read_checkpoint

CONFIG = """
model:
  class_path: CARML
  init_args:
    world: {class_path: PointWorld, init_args: {episodes: 2, horizon: 4, rewarded: false}}
    scaffold: {class_path: lightning_binding.carml.scaffold.Scaffold, init_args: {components: 3}}
    refit_period: 1
    organise_steps: 2
    first_trajectories: 12
    memory: {class_path: GRU, init_args: {hidden: 8}}
data: {class_path: TrialsDataModule, init_args: {envs: 6, eval_trials: 12, minibatches: 2, passes: 1}}
trainer:
  accelerator: cpu
  devices: 2
  strategy: ddp
  max_epochs: 3
  limit_val_batches: 0
  enable_progress_bar: false
  logger: false
  callbacks:
    - class_path: ModelCheckpoint
      init_args: {every_n_train_steps: 1, save_top_k: -1, filename: "{step}"}
"""


def kept(checkpoint: dict[str, Any]) -> list[torch.Tensor]:
    return [state["kept"] for state in checkpoint["carml"]["reservoirs"]]


def test_two_ranks(tmp_path: Path) -> None:
    folder = fit(CONFIG, tmp_path / "whole")
    first, whole = read_checkpoint(folder / "step=1.ckpt"), read_checkpoint(folder / "step=6.ckpt")
    assert [len(each) for each in kept(first)] == [18, 18]  # 12 of the random agent, 6 of the first rollout
    assert not torch.equal(*kept(first))
    random = torch.cat([each[:12] for each in kept(first)])
    alone = Scaffold(3)  # one process finds the same tasks in what both have done
    alone.fit(random[:, :, :])
    assert first["carml"]["organised"] == 1
    together = first["carml"]["scaffold"]["mixture"]
    order = alone.mixture.log_prior.sort().indices
    torch.testing.assert_close(together["means"][together["log_prior"].sort().indices], alone.mixture.means[order])
    assert whole["carml"]["organised"] == 2
    again = read_checkpoint(fit(CONFIG, tmp_path / "again", f"--ckpt_path={folder / 'step=1.ckpt'}") / "step=6.ckpt")
    for name, value in whole["state_dict"].items():
        assert torch.equal(again["state_dict"][name], value), name
    for name, value in whole["carml"]["scaffold"]["mixture"].items():
        assert torch.equal(again["carml"]["scaffold"]["mixture"][name], value), name
    for ours, expected in zip(kept(again), kept(whole), strict=True):
        assert torch.equal(ours, expected)


UNEVEN = """
model: {class_path: MetaRL, init_args: {world: {class_path: carml.uneven.UnevenWorld}}}
data: {class_path: TrialsDataModule, init_args: {envs: 2, eval_trials: 4, minibatches: 1, passes: 1}}
trainer:
  accelerator: cpu
  devices: 2
  strategy: ddp
  max_epochs: 1
  num_sanity_val_steps: 0
  enable_progress_bar: false
  logger: {class_path: CSVLogger, init_args: {save_dir: ., name: null, version: ""}}
  log_every_n_steps: 1
"""


def test_what_is_logged_is_that_of_both_ranks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tests = str(Path(__file__).parents[1])
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([tests, os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setenv("PYTHONWARNINGS", "error:It is recommended to use `self.log")  # of sync_dist
    fit(UNEVEN, tmp_path / "run", f"--trainer.logger.save_dir={tmp_path}")
    with next(tmp_path.rglob("metrics.csv")).open() as file:
        rows = list(csv.DictReader(file))
    found = {name: float(value) for row in rows for name, value in row.items() if value}
    assert found["train/env_steps"] == 2 * 2 * 4
    assert found["train/dropped"] == 1
    assert found["train/return"] == pytest.approx((2 * 4 + 12) / 3)  # two trials of rank 0, one of rank 1
    assert found["val/return"] == pytest.approx((2 * 4 + 2 * 12) / 4)
