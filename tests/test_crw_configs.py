"""Every shipped YAML of the perception chapter is run through the command line, at a size that nobody notices."""

import json
from pathlib import Path

import pytest
import torch
import yaml
from layouts import write_davis, write_jhmdb, write_vip
from small_videos import encode

from lightning_binding.cli import main

CONFIGS = Path(__file__).parents[1] / "configs"
RECIPES = sorted(path.relative_to(CONFIGS).as_posix() for path in CONFIGS.glob("crw/*.yaml"))
DATA = {name: yaml.safe_load((CONFIGS / name).read_text())["data"]["class_path"] for name in RECIPES}
SPRITES = [name for name in RECIPES if DATA[name] == "MovingSpritesDataModule"]
VIDEOS = [name for name in RECIPES if DATA[name] == "VideoFolderDataModule"]
BENCHMARKS = {"DAVISDataModule": write_davis, "VIPDataModule": write_vip, "JHMDBDataModule": write_jhmdb}
SCORED = [name for name in RECIPES if DATA[name] in BENCHMARKS]

TRAINING = ["--trainer.max_steps=2", "--trainer.accelerator=cpu", "--trainer.precision=32-true"]
TRAINING += ["--trainer.log_every_n_steps=1", "--data.num_workers=0", "--data.batch_size=2", "--data.frame_size=32"]
SMALL = ["--model.backbone=emoji_resnet", "--model.layer=layer3", "--model.eval_layer=layer2"]
PATCHES = ["--model.nodes.patch_size=16", "--model.nodes.grid_stride=8", "--model.nodes.frame_size=32"]
CELLS = ["--model.nodes.frame_size=32"]


def nodes(name: str) -> list[str]:
    """Options that make the nodes of a recipe small."""
    arguments = yaml.safe_load((CONFIGS / name).read_text())["model"]["init_args"]
    return CELLS if arguments["nodes"]["class_path"] == "DenseGrid" else PATCHES


def test_every_recipe_is_run() -> None:
    assert sorted(SPRITES + VIDEOS + SCORED) == RECIPES


@pytest.mark.parametrize("name", SPRITES)
def test_recipe_on_sprites_runs(name: str, tmp_path: Path) -> None:
    options = [*TRAINING, *nodes(name), "--data.eval_sequences=2", "--data.eval_frames=4"]
    options += ["--trainer.val_check_interval=1", f"--trainer.default_root_dir={tmp_path}"]
    cli = main(["fit", "--config", str(CONFIGS / name), *options])
    assert cli.trainer.global_step == 2
    assert torch.isfinite(cli.trainer.callback_metrics["train/loss"])
    assert 0 <= float(cli.trainer.callback_metrics["val/j_and_f"]) <= 1
    assert (tmp_path / "metrics.png").exists()
    assert list(tmp_path.glob("walks/*.png"))
    checkpoint = tmp_path / "checkpoints" / "last.ckpt"
    tested = main(["test", "--config", str(CONFIGS / name), *options, "--ckpt_path", str(checkpoint)])
    assert 0 <= float(tested.trainer.callback_metrics["test/j_and_f"]) <= 1


@pytest.mark.parametrize("name", VIDEOS)
def test_recipe_on_videos_runs(name: str, tmp_path: Path) -> None:
    for label in ("run", "jump"):
        for index in range(2):
            encode(tmp_path / "videos" / "train" / label / f"{index}.mp4", range(16))
    options = [*TRAINING, *SMALL, *nodes(name), "--model.padding=null", "--data.short_side=32"]
    options += [f"--data.root={tmp_path / 'videos'}", f"--trainer.default_root_dir={tmp_path / 'run'}"]
    cli = main(["fit", "--config", str(CONFIGS / name), *options])
    assert cli.trainer.global_step == 2
    assert torch.isfinite(cli.trainer.callback_metrics["train/loss"])
    assert (tmp_path / "run" / "checkpoints" / "last.ckpt").exists()
    assert [path.name for path in (tmp_path / "run" / "walks").iterdir()] == ["step-00000001.png"]


@pytest.mark.parametrize("name", SCORED)
def test_recipe_on_a_benchmark_runs(name: str, tmp_path: Path) -> None:
    root = BENCHMARKS[DATA[name]](tmp_path / "data")
    options = [f"--data.root={root}", "--data.num_workers=0", "--trainer.accelerator=cpu"]
    options += ["--model.backbone=resnet10t", "--model.pretrained=false", f"--trainer.default_root_dir={tmp_path}/run"]
    sizes = {"size": None, "long_side": None, "short_side": 32, "other_side_multiple": 8}
    options += [f"--model.propagation_options={json.dumps(sizes)}"]
    cli = main(["validate", "--config", str(CONFIGS / name), *options])
    values = {key: float(value) for key, value in cli.trainer.callback_metrics.items()}
    assert [key for key in ("val/j_and_f", "val/miou", "val/pck_0.1") if key in values]
    assert all(torch.isfinite(torch.tensor(value)) for value in values.values())
    assert list((tmp_path / "run").rglob("*.csv"))
