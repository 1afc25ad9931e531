"""The YAML of models of video, and of joint models, is run through the command line at a size that nobody notices."""

import json
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import yaml
from small_videos import encode

from lightning_binding.cli import main

CONFIGS = Path(__file__).parents[1] / "configs"
RECIPES = {path.name: yaml.safe_load(path.read_text()) for path in sorted(CONFIGS.glob("rin/*.yaml"))}
VIDEO = [name for name, recipe in RECIPES.items() if recipe["model"]["class_path"] == "RINVideoDiffusion"]
JOINT = [name for name, recipe in RECIPES.items() if recipe["model"]["class_path"] == "RINJoint"]
SIZES = {"interface_dim": 16, "latents": 6, "latent_dim": 16, "blocks": [1], "latent_heads": 2, "cross_heads": 2}


def options(folder: Path, **network: Any) -> list[str]:
    given = [f"--model.network_options={json.dumps(SIZES | network)}", "--model.sampling.steps=2"]
    given += ["--model.scheduler.warmup_steps=1", "--data.batch_size=2", f"--trainer.default_root_dir={folder}/run"]
    given += ["--trainer.max_steps=2", "--trainer.val_check_interval=1", "--trainer.limit_val_batches=2"]
    return [*given, "--trainer.accelerator=cpu", "--trainer.precision=32-true", "--trainer.log_every_n_steps=1"]


@pytest.mark.parametrize("name", VIDEO)
def test_recipe_of_video_runs(name: str, tmp_path: Path) -> None:
    folder = RECIPES[name]["data"]["class_path"] == "VideoFolderDataModule"
    given = options(tmp_path, **({"image_size": 16} if folder else {}))
    if folder:
        for split in ("train", "val"):
            for index in range(2):
                encode(tmp_path / "videos" / split / "run" / f"{index}.mp4", range(20))
        given += [f"--data.root={tmp_path}/videos", "--data.frame_size=16", "--data.num_workers=0"]
    else:
        given += ["--data.eval_sequences=4"]
    cli = main(["fit", "--config", str(CONFIGS / "rin" / name), *given])
    assert cli.trainer.global_step == 2
    for key in ("train/loss", "val/loss"):
        assert torch.isfinite(cli.trainer.callback_metrics[key])
    assert [path.suffix for path in sorted((tmp_path / "run").glob("**/predictions/step-00000002.*"))] == [
        ".gif",
        ".png",
    ]
    checkpoint = sorted((tmp_path / "run").glob("**/last.ckpt"))[-1]
    tested = main(["test", "--config", str(CONFIGS / "rin" / name), *given, "--ckpt_path", str(checkpoint)])
    assert torch.isfinite(tested.trainer.callback_metrics["test/loss"])


@pytest.mark.parametrize("name", VIDEO)
def test_recipe_of_video_names_a_preset_of_the_data_s_size(name: str) -> None:
    arguments, data = RECIPES[name]["model"]["init_args"], RECIPES[name]["data"]["init_args"]
    with torch.device("meta"):
        network = timm.create_model(arguments["network"])
    assert (data["frames"], data["frame_size"]) == (network.frames, network.image_size)


@pytest.mark.parametrize("name", JOINT)
def test_joint_recipe_runs(name: str, tmp_path: Path) -> None:
    given = options(tmp_path)
    if RECIPES[name]["data"]["class_path"] == "MovingSpritesDataModule":
        given += ["--data.eval_sequences=2"]
    cli = main(["fit", "--config", str(CONFIGS / "rin" / name), *given])
    assert cli.trainer.global_step == 2
    agreement = [key for key in cli.trainer.callback_metrics if key.endswith("_given_the_rest")]
    assert len(agreement) == 1
    assert all(0 <= float(cli.trainer.callback_metrics[key]) <= 1 for key in agreement)
