"""Every shipped YAML for images is run through the command line, small; alike ones with `long` alone (`recipes`)."""

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from inception import random_weights
from PIL import Image
from recipes import chosen

from lightning_binding.cli import main
from lightning_binding.rin.sampling import Sampling

CONFIGS = Path(__file__).parents[1] / "configs"
RECIPES = sorted(path.relative_to(CONFIGS).as_posix() for path in CONFIGS.glob("**/*.yaml"))
PARTS = [name for name in RECIPES if name.startswith(("trainer/", "callbacks/"))]
VIDEO = [f"rin/{name}.yaml" for name in ("bair", "kinetics600", "sprites", "joint_emoji", "joint_sprites")]
OTHERS = [name for name in RECIPES if name.startswith(("crw/", "carml/"))]  # in tests of their own
WHOLE = [name for name in RECIPES if name not in PARTS + VIDEO + OTHERS]


@pytest.fixture(autouse=True)
def two_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Samplers take two steps where the callbacks of a recipe ask for a hundred."""
    call = Sampling.__call__

    def short(self: Sampling, *args: Any, steps: int | None = None, **options: Any) -> torch.Tensor:
        return call(self, *args, steps=min(steps or self.steps, 2), **options)

    monkeypatch.setattr(Sampling, "__call__", short)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of pictures in ImageNet's layout."""
    for split in ("train", "val"):
        for label in ("cat", "dog"):
            for index in range(3):
                path = tmp_path / "images" / split / label / f"{index}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.new("RGB", (20, 24), (40 * index, 90, 200)).save(path)
    return tmp_path


@pytest.fixture
def cifar(tmp_path: Path) -> Path:
    """CIFAR-10's binary files with a few pictures."""
    root = tmp_path / "cifar-10-batches-bin"
    root.mkdir(parents=True)
    record = torch.randint(256, (10, 3073), dtype=torch.uint8)
    record[:, 0] = torch.arange(10)
    for name in [*(f"data_batch_{index}.bin" for index in range(1, 6)), "test_batch.bin"]:
        (root / name).write_bytes(record.numpy().tobytes())
    (root / "batches.meta.txt").write_text("\n".join(f"class{index}" for index in range(10)) + "\n")
    return tmp_path


def contents(name: str) -> dict[str, dict[str, object]]:
    loaded: dict[str, dict[str, object]] = yaml.safe_load((CONFIGS / name).read_text())
    return loaded


def small(name: str, folder: Path, cifar: Path, classes: int) -> list[str]:
    """Options that make a recipe small without changing what it is."""
    data = contents(name)["data"]["class_path"]
    size = 32 if data == "CIFAR10DataModule" else 16
    options = [
        f'--model.network_options={{"image_size": {size}, "num_classes": {classes}}}',
        "--model.network=rin_tiny",
    ]
    options += ["--model.sampling.steps=2", "--model.scheduler.warmup_steps=1", "--data.batch_size=2"]
    options += ["--trainer.max_steps=2", "--trainer.val_check_interval=1", "--trainer.limit_val_batches=1"]
    options += ["--trainer.accelerator=cpu", "--trainer.precision=32-true", f"--trainer.default_root_dir={folder}/run"]
    if data == "ImageFolderDataModule":
        options += [f"--data.root={folder}/images", f"--data.image_size={size}", "--data.num_workers=0"]
    elif data == "CIFAR10DataModule":
        options += [f"--data.root={cifar}", "--data.num_workers=0"]
    else:
        options += [f"--data.image_size={size}"]
    return options


CLASSES = {"ImageFolderDataModule": 2, "CIFAR10DataModule": 10, "EmojiDataModule": 9}


@pytest.mark.parametrize("name", chosen(WHOLE))
def test_recipe_runs(name: str, folder: Path, cifar: Path) -> None:
    classes = CLASSES[str(contents(name)["data"]["class_path"])]
    options = small(name, folder, cifar, classes)
    cli = main(["fit", "--config", str(CONFIGS / name), *options])
    assert cli.trainer.global_step == 2
    assert torch.isfinite(cli.trainer.callback_metrics["train/loss"])
    checkpoints = sorted((folder / "run").glob("**/*.ckpt"))
    assert checkpoints
    pictures = sorted((folder / "run").glob("**/samples/*.png"))
    assert [path.name for path in pictures if path.name == "progress.png"]
    tested = main(["test", "--config", str(CONFIGS / name), *options, "--ckpt_path", str(checkpoints[-1])])
    assert torch.isfinite(tested.trainer.callback_metrics["test/loss"])


@pytest.mark.parametrize("name", WHOLE)
def test_recipe_names_a_preset_of_the_data_s_size(name: str) -> None:
    import timm

    recipe = contents(name)
    arguments = recipe["model"]["init_args"]
    assert isinstance(arguments, dict)
    with torch.device("meta"):
        network = timm.create_model(arguments["network"], **arguments.get("network_options", {}))
    data = recipe["data"]["init_args"]
    assert isinstance(data, dict)
    assert data.get("image_size", 32) == network.image_size
    if str(recipe["data"]["class_path"]) == "ImageFolderDataModule":
        assert network.num_classes == 1000
    else:
        assert network.num_classes == CLASSES[str(recipe["data"]["class_path"])]


@pytest.mark.parametrize("name", PARTS)
def test_part_composes_with_a_recipe(name: str, folder: Path, cifar: Path) -> None:
    recipe = "rin/imagenet64.yaml"
    options = small(recipe, folder, cifar, 2)
    options += [
        "--trainer.devices=1",
        "--trainer.num_nodes=1",
        "--model.compile=false",
        "--trainer.limit_train_batches=2",
    ]
    if "vars" in contents(name):
        options += [f"--vars.inception={random_weights(folder)}", "--trainer.callbacks.num_samples=4"]
        options += [f"--vars.statistics={folder}/statistics"]
        options += ["--trainer.val_check_interval=2"]  # the root of a matrix of 2048 x 2048 takes seconds
    cli = main(["fit", "--config", str(CONFIGS / recipe), "--config", str(CONFIGS / name), *options])
    assert cli.trainer.global_step == 2
    names = [type(callback).__name__ for callback in cli.trainer.callbacks]
    assert {"EMA", "SampleGrid", "ModelCheckpoint"} <= set(names)  # a part adds callbacks, and replaces none
    if "vars" in contents(name):
        assert torch.isfinite(cli.trainer.callback_metrics["val/fid"])
        assert len(list((folder / "statistics").glob("*.sums.safetensors"))) == 1
