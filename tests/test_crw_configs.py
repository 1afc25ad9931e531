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
    options += ["--model.pretrained=false"]
    cli = main(["fit", "--config", str(CONFIGS / name), *options])
    assert cli.trainer.global_step == 2
    assert torch.isfinite(cli.trainer.callback_metrics["train/loss"])
    assert (tmp_path / "run" / "checkpoints" / "last.ckpt").exists()
    assert [path.name for path in (tmp_path / "run" / "walks").iterdir()] == ["step-00000001.png"]


@pytest.mark.parametrize("name", SCORED)
def test_recipe_on_a_benchmark_runs(name: str, tmp_path: Path) -> None:
    root = BENCHMARKS[DATA[name]](tmp_path / "data")
    options = [f"--data.root={root}", "--data.num_workers=0", "--trainer.accelerator=cpu"]
    options += ["--model.backbone=resnet10t", "--model.pretrained=false", "--model.weights=null"]
    options += [f"--trainer.default_root_dir={tmp_path}/run"]
    sizes = {"size": None, "long_side": None, "short_side": 32, "other_side_multiple": 8}
    options += [f"--model.propagation_options={json.dumps(sizes)}"]
    cli = main(["validate", "--config", str(CONFIGS / name), *options])
    values = {key: float(value) for key, value in cli.trainer.callback_metrics.items()}
    assert [key for key in ("val/j_and_f", "val/miou", "val/pck_0.1") if key in values]
    assert all(torch.isfinite(torch.tensor(value)) for value in values.values())
    assert list((tmp_path / "run").rglob("*.csv"))


def test_a_head_is_trained_on_a_frozen_backbone_and_propagated_with(tmp_path: Path) -> None:
    """The two commands of the recipe; the transformer is one without a name that has to be downloaded."""
    for index in range(2):
        encode(tmp_path / "videos" / f"{index}.mp4", range(16))
    transformer = {"patch_size": 8, "img_size": 32, "embed_dim": 24, "depth": 2, "num_heads": 2}
    backbone = ["--model.backbone=vit_tiny_patch16_224", f"--model.backbone_options={json.dumps(transformer)}"]
    backbone += ["--model.pretrained=false", "--trainer.accelerator=cpu", "--data.num_workers=0"]
    options = [*TRAINING, *backbone, *CELLS, "--data.short_side=32", f"--data.root={tmp_path / 'videos'}"]
    recipe = CONFIGS / "crw" / "kinetics400_dino_head.yaml"
    cli = main(["fit", "--config", str(recipe), *options, f"--trainer.default_root_dir={tmp_path / 'run'}"])
    trained = dict(cli.model.named_parameters())
    moving = {name for name, value in trained.items() if value.requires_grad}
    assert moving == {"head.0.weight", "head.0.bias"}
    checkpoint = tmp_path / "run" / "checkpoints" / "last.ckpt"
    scored = ["--model.head_depth=0", "--model.eval_head=true", f"--ckpt_path={checkpoint}"]
    scored += [f"--data.root={write_davis(tmp_path / 'DAVIS')}", f"--trainer.default_root_dir={tmp_path / 'scores'}"]
    scored += ['--model.propagation_options={"short_side": 48, "other_side_multiple": 8}']
    validation = ["validate", "--config", str(CONFIGS / "crw" / "davis_dino_vits16.yaml"), *backbone, *scored]
    found = main(validation)
    assert 0 <= float(found.trainer.callback_metrics["val/j_and_f"]) <= 1
    assert torch.equal(found.model.head[0].weight, trained["head.0.weight"])
    assert torch.equal(found.model.backbone.network.pos_embed, trained["backbone.network.pos_embed"])
