"""Recipes fit on a GPU through the command line, go on from a checkpoint, and are sampled from."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from lightning_binding.weights import read_checkpoint

pytestmark = pytest.mark.gpu
ROOT = Path(__file__).parents[2]
GPU = ["--trainer.accelerator", "gpu", "--trainer.devices", "1"]
SHORT = ["--trainer.limit_val_batches", "1", "--trainer.enable_progress_bar", "false"]


def run(tmp_path: Path, *arguments: str) -> str:
    """The command line, in a process of its own."""
    command = [sys.executable, "-m", "lightning_binding", *arguments]
    found = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=280)
    assert found.returncode == 0, found.stdout[-2000:] + found.stderr[-4000:]
    return found.stdout + found.stderr


def fit(tmp_path: Path, recipe: str, steps: int, *more: str) -> str:
    config = ["--config", str(ROOT / "configs" / recipe)]
    limits = ["--trainer.max_steps", str(steps), "--trainer.val_check_interval", str(steps)]
    return run(tmp_path, "fit", *config, *GPU, *SHORT, *limits, *more)


RECIPES = ["quickstart.yaml", "rin/sprites.yaml", "rin/joint_emoji.yaml", "crw/quickstart.yaml"]


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_fits(recipe: str, precision: str, tmp_path: Path, cuda: torch.device) -> None:
    fit(tmp_path, recipe, 4, "--trainer.precision", precision)


@pytest.mark.parametrize("recipe", ["carml/find_the_arm.yaml", "carml/quickstart.yaml"])
def test_meta_learning_fits(recipe: str, tmp_path: Path, cuda: torch.device) -> None:
    config = ["--config", str(ROOT / "configs" / recipe)]
    run(tmp_path, "fit", *config, *GPU, *SHORT, "--trainer.max_epochs", "3", "--trainer.check_val_every_n_epoch", "3")


@pytest.mark.parametrize("recipe", ["quickstart.yaml", "crw/quickstart.yaml"])
def test_a_compiled_recipe_fits(recipe: str, tmp_path: Path, cuda: torch.device) -> None:
    fit(tmp_path, recipe, 4, "--config", str(ROOT / "configs/trainer/gpu.yaml"))


@pytest.mark.parametrize("optimizer", ["timm.optim.Lamb", "torch.optim.AdamW", "lightning_binding.optim.Muon"])
def test_a_sharded_recipe_fits(optimizer: str, tmp_path: Path, cuda: torch.device) -> None:
    sharded = ["--config", str(ROOT / "configs/trainer/fsdp2.yaml"), "--trainer.devices", "1"]
    fit(tmp_path, "quickstart.yaml", 4, *sharded, f"--model.optimizer={optimizer}", "--model.optimizer.lr=1e-3")


def test_a_run_goes_on_and_is_sampled_from(tmp_path: Path, cuda: torch.device) -> None:
    steps = ["--trainer.callbacks+=ModelCheckpoint", "--trainer.callbacks.every_n_train_steps", "5"]
    steps += ["--trainer.callbacks.save_top_k", "-1", "--trainer.callbacks.filename", "at-{step}"]
    for folder, count in (("whole", 10), ("half", 5), ("half", 10)):
        fit(tmp_path, "quickstart.yaml", count, *steps, "--trainer.default_root_dir", folder, "--resume", "auto")
    ends = {name: max((tmp_path / name).rglob("at-*=10.ckpt")) for name in ("whole", "half")}
    whole, half = (read_checkpoint(path)["state_dict"] for path in ends.values())
    largest = max(float((whole[name] - half[name]).abs().max()) for name in whole)
    print(f"largest difference of a weight after going on: {largest:.1e}")
    assert largest < 1e-4
    run(tmp_path, "sample", "--ckpt_path", str(ends["whole"]), "--num", "4", "--out", "samples.png")
    assert (tmp_path / "samples.png").stat().st_size > 0
