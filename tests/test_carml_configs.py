"""Every shipped YAML of meta-RL's worlds is run through the command line, small; alike ones with `long` (`recipes`)."""

from pathlib import Path

import pytest
import torch
import yaml
from recipes import chosen

from lightning_binding.cli import main

CONFIGS = Path(__file__).parents[1] / "configs"
RECIPES = sorted(path.relative_to(CONFIGS).as_posix() for path in CONFIGS.glob("carml/*.yaml"))
MODELS = {name: yaml.safe_load((CONFIGS / name).read_text())["model"] for name in RECIPES}
OF_META_RL = [name for name in RECIPES if MODELS[name]["class_path"] == "MetaRL"]
SHORT = {
    "FindTheArm": ["--model.world.pulls=3"],
    "BernoulliBandit": ["--model.world.pulls=3"],
    "TabularMDP": ["--model.world.episodes=2", "--model.world.horizon=2"],
    "PointWorld": ["--model.world.horizon=3"],
    "DoomRoomWorld": ["--model.world.horizon=2", "--model.world.maps=2", "--model.encoder.features=8"],
    "PusherWorld": ["--model.world.horizon=3"],
}
NEEDED = {"DoomRoomWorld": "vizdoom", "PusherWorld": "mujoco"}  # the package that a world needs
OF_SKILLS = [name for name in RECIPES if MODELS[name]["class_path"] in ("CARML", "RNDPretraining")]


@pytest.mark.parametrize("name", chosen(OF_META_RL))
def test_recipe_runs(name: str, tmp_path: Path) -> None:
    world = MODELS[name]["init_args"]["world"]["class_path"]
    if world in NEEDED:
        pytest.importorskip(NEEDED[world])
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


@pytest.mark.parametrize("name", OF_SKILLS)
def test_unsupervised_recipe_runs(name: str, tmp_path: Path) -> None:
    recipe = yaml.safe_load((CONFIGS / name).read_text())
    model, world = recipe["model"]["init_args"], recipe["model"]["init_args"]["world"]["class_path"]
    if world in NEEDED:
        pytest.importorskip(NEEDED[world])
    options = [*SHORT[world], *(each.replace("--model.world", "--data.eval_world") for each in SHORT[world])]
    options += ["--data.envs=4", "--data.steps=null", "--data.eval_trials=4", "--trainer.max_epochs=1"]
    options += ["--trainer.check_val_every_n_epoch=1", "--trainer.enable_progress_bar=false"]
    options += [f"--trainer.default_root_dir={tmp_path}", "--model.memory.hidden=8", "--trainer.accelerator=cpu"]
    if recipe["model"]["class_path"] == "CARML":
        options += ["--model.first_trajectories=8", "--model.scaffold.components=3"]
    cli = main(["fit", "--config", str(CONFIGS / name), *dict.fromkeys(options)])
    assert cli.trainer.global_step == recipe["data"]["init_args"]["minibatches"] * recipe["data"]["init_args"]["passes"]
    told = cli.trainer.callback_metrics
    assert torch.isfinite(told["train/loss"])
    assert 0 <= float(told["val/success_last"]) <= 1
    assert not model["world"]["init_args"]["rewarded"]
    assert float(told["train/return"]) == 0  # the world pays nothing
    assert list(tmp_path.glob("checkpoints/*.ckpt"))
    drawn = {each["class_path"] for each in recipe["trainer"]["callbacks"]} & {"SkillMaps", "ClusterMontage"}
    assert (tmp_path / "skills" / "progress.png").exists() == ("SkillMaps" in drawn)
    assert bool(list(tmp_path.glob("clusters/*.png"))) == ("ClusterMontage" in drawn)


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
    assert data.get("steps", length) % length == 0
    assert recipe["trainer"]["max_epochs"] % recipe["trainer"]["check_val_every_n_epoch"] == 0
