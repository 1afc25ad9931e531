"""Two ranks: trials of their own, one agent, steps counted together, and a checkpoint that holds both."""

from pathlib import Path

import torch
from two_ranks import fit

from lightning_binding.weights import read_checkpoint

CONFIG = """
model:
  class_path: MetaRL
  init_args:
    world: {class_path: FindTheArm}
    memory: {class_path: GRU, init_args: {hidden: 8}}
data: {class_path: TrialsDataModule, init_args: {envs: 4, eval_trials: 12, minibatches: 2}}
trainer:
  accelerator: cpu
  devices: 2
  strategy: ddp
  max_epochs: 3
  enable_progress_bar: false
  logger: false
  callbacks:
    - class_path: ModelCheckpoint
      init_args: {every_n_train_steps: 6, save_top_k: -1, save_last: true, filename: "{step}"}
"""


def test_two_ranks(tmp_path: Path) -> None:
    folder = fit(CONFIG, tmp_path / "whole")
    whole = read_checkpoint(folder / "step=24.ckpt")
    assert whole["num_env_steps"] == 3 * 2 * 4 * 6
    ranks = whole["TrialsDataModule"]["ranks"]
    assert len(ranks) == 2
    assert not torch.equal(*(rank["collector"]["envs"]["tasks"]["chance"] for rank in ranks))
    assert not torch.equal(*(rank["collector"]["generator"] for rank in ranks))
    middle = read_checkpoint(folder / "step=12.ckpt")  # in the middle of a rollout
    begun = [rank["trials"] for rank in middle["TrialsDataModule"]["ranks"]]
    assert [each["seen"] for each in begun] == [4, 4]
    assert not torch.equal(*(each["rollout"]["actions"] for each in begun))
    again = read_checkpoint(fit(CONFIG, tmp_path / "again", f"--ckpt_path={folder / 'step=12.ckpt'}") / "step=24.ckpt")
    for name, value in whole["state_dict"].items():
        assert torch.equal(again["state_dict"][name], value), name
    for one, other in zip(again["TrialsDataModule"]["ranks"], ranks, strict=True):
        assert torch.equal(one["collector"]["generator"], other["collector"]["generator"])
        assert torch.equal(one["collector"]["envs"]["tasks"]["chance"], other["collector"]["envs"]["tasks"]["chance"])
