"""FSDP2 on two processes beside DDP on two: the same draws, so the same losses and weights but for the order of sums.

To 1e-5: a gradient is summed over the ranks in another order. LAMB, which the large recipes use, divides by the size of
a gradient and blows that up where it is nearly zero, so its losses are compared; after plain SGD, the weights too.
"""

import csv
from pathlib import Path
from typing import Any

import pytest
import torch
from launching import ON_CPUS, TINY, finish, start

from lightning_binding.module import BindingModule

pytestmark = pytest.mark.long
DDP, FSDP = ["--trainer.strategy=ddp"], ["--config", "configs/trainer/fsdp2.yaml"]
SGD = ["--model.optimizer=torch.optim.SGD", "--model.optimizer.lr=0.1", "--model.optimizer.momentum=0.9"]
LAMB = ["--model.optimizer=timm.optim.Lamb", "--model.optimizer.lr=1e-2"]


def fit(folder: Path, *options: str) -> Path:
    """A fit that validates, where the ranks have two batches and one, that draws, and keeps its checkpoints."""
    command = ["lightning-binding", "fit", "--config", TINY, *options, *ON_CPUS, f"--trainer.default_root_dir={folder}"]
    command += ["--trainer.devices=2", "--data.eval_batch_size=317", "--trainer.limit_val_batches=1.0"]
    command += ["--trainer.val_check_interval=2", "--trainer.log_every_n_steps=1", "--trainer.gradient_clip_val=1"]
    command += ["--trainer.callbacks+=SampleGrid", "--trainer.callbacks.steps=2"]
    command += ["--trainer.callbacks+=RotatingCheckpoint", "--trainer.callbacks.every_n_steps=2"]
    finish(start(command))
    return folder / "checkpoints"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sharded")


@pytest.fixture(scope="module")
def ddp(folder: Path) -> Path:
    return fit(folder / "ddp", *DDP, *SGD)


@pytest.fixture(scope="module")
def fsdp(folder: Path) -> Path:
    return fit(folder / "fsdp", *FSDP, *SGD)


def losses(checkpoints: Path) -> list[float]:
    """All losses of training and validation, in the order of the log."""
    with open(checkpoints.parent / "metrics.csv") as file:
        rows = list(csv.DictReader(file))
    return [float(row[name]) for row in rows for name in ("train/loss", "val/loss") if row[name]]


def parts(path: Path) -> dict[str, Any]:
    checkpoint = torch.load(path, weights_only=True)
    for group in (group for state in checkpoint["optimizer_states"] for group in state["param_groups"]):
        group.pop("foreach", None)  # how a step is computed, not what
    names = ("state_dict", "current_model_state", "averaging_state", "optimizer_states", "random_states")
    return {name: checkpoint[name] for name in names}


def test_losses_and_weights_of_ddp(ddp: Path, fsdp: Path) -> None:
    assert len(losses(ddp)) == 6
    torch.testing.assert_close(losses(fsdp), losses(ddp), rtol=0, atol=1e-5)
    found, expected = parts(fsdp / "end.ckpt"), parts(ddp / "end.ckpt")
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    for name in ("state_dict", "current_model_state"):
        pairs = [(found[name][key], expected[name][key]) for key in expected[name]]
        print(f"largest difference of {name}: {max(float((one - other).abs().max()) for one, other in pairs):.2e}")


def test_a_checkpoint_loads_in_a_plain_module(fsdp: Path) -> None:
    module: Any = BindingModule.from_checkpoint(fsdp / "end.ckpt")
    average = torch.load(fsdp / "end.ckpt", weights_only=True)["state_dict"]
    torch.testing.assert_close(module.state_dict(), average, rtol=0, atol=0)
    assert module.sample(2, steps=2).shape == (2, 3, 8, 8)


def test_it_goes_on_with_the_same_bits(fsdp: Path, folder: Path) -> None:
    again = fit(folder / "again", *FSDP, *SGD, f"--ckpt_path={fsdp / 'step=2.ckpt'}")
    torch.testing.assert_close(parts(again / "end.ckpt"), parts(fsdp / "end.ckpt"), rtol=0, atol=0)


def test_ddp_goes_on_from_it(ddp: Path, fsdp: Path, folder: Path) -> None:
    whole = fit(folder / "whole", *DDP, *SGD, f"--ckpt_path={fsdp / 'step=2.ckpt'}")
    torch.testing.assert_close(parts(whole / "end.ckpt"), parts(ddp / "end.ckpt"), rtol=0, atol=1e-5)


def test_lamb(folder: Path) -> None:
    found, expected = (losses(fit(folder / f"lamb_{name[-1][-4:]}", *name, *LAMB)) for name in (FSDP, DDP))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
