"""Every shipped YAML of meta-RL's worlds is run through the command line, at a size that nobody notices."""

from pathlib import Path

import pytest
import torch
import yaml

from lightning_binding.cli import main

CONFIGS = Path(__file__).parents[1] / "configs"
RECIPES = sorted(path.relative_to(CONFIGS).as_posix() for path in CONFIGS.glob("carml/*.yaml"))
MODELS = {name: yaml.safe_load((CONFIGS / name).read_text())["model"] for name in RECIPES}
OF_META_RL = [name for name in RECIPES if MODELS[name]["class_path"] == "MetaRL"]
SHORT = {
    "FindTheArm": ["--model.world.pulls=3"],
    "BernoulliBandit": ["--model.world.pulls=3"],
    "TabularMDP": ["--model.world.episodes=2", "--model.world.horizon=2"],
}


@pytest.mark.parametrize("name", OF_META_RL)
def test_recipe_runs(name: str, tmp_path: Path) -> None:
    world = MODELS[name]["init_args"]["world"]["class_path"]
    options = [*SHORT[world], "--data.envs=4", "--data.steps=null", "--data.eval_trials=8", "--trainer.max_epochs=1"]
    options += ["--trainer.check_val_every_n_epoch=1", "--trainer.enable_progress_bar=false"]
    options += [f"--trainer.default_root_dir={tmp_path}", "--model.memory.hidden=8"]
    cli = main(["fit", "--config", str(CONFIGS / name), *options])
    data = yaml.safe_load((CONFIGS / name).read_text())["data"]["init_args"]
    assert cli.trainer.global_step == data["minibatches"] * data["passes"]
    assert torch.isfinite(cli.trainer.callback_metrics["train/loss"])
    assert torch.isfinite(cli.trainer.callback_metrics["val/return"])
    assert list(tmp_path.glob("checkpoints/*.ckpt"))
    assert (tmp_path / "metrics.png").exists()


@pytest.mark.parametrize("name", OF_META_RL)
def test_rate_and_rollouts_end_together(name: str) -> None:
    recipe = yaml.safe_load((CONFIGS / name).read_text())
    data, world = recipe["data"]["init_args"], recipe["model"]["init_args"]["world"]["init_args"]
    per_epoch = data["minibatches"] * data["passes"]
    if "scheduler" in recipe["model"]["init_args"]:
        total = recipe["model"]["init_args"]["scheduler"]["init_args"]["total_steps"]
        assert total == recipe["trainer"]["max_epochs"] * per_epoch
    assert recipe["trainer"]["log_every_n_steps"] == per_epoch
    length = world.get("pulls") or world["episodes"] * world["horizon"]
    assert data["steps"] % length == 0
    assert recipe["trainer"]["max_epochs"] % recipe["trainer"]["check_val_every_n_epoch"] == 0
