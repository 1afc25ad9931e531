"""CARML on two ranks: one scaffold of what both have done, and a checkpoint that holds both reservoirs."""

from pathlib import Path
from typing import Any

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
