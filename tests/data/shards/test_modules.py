"""Sharded data modules: the tensors of the folders they were made of, and the same draws after a restart."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from data.diary import Diary
from data.shards.pictures import write_pictures, write_shards
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from small_videos import encode

from lightning_binding import InputError
from lightning_binding.cli import main
from lightning_binding.data import (
    ImageFolderDataModule,
    ShardedImageDataModule,
    ShardedVideoDataModule,
    VideoFolderDataModule,
)
from lightning_binding.data.sampling import Draw
from lightning_binding.data.shards.chunk import Example, encode_example, pack
from lightning_binding.data.shards.index import ChunkInfo, ShardIndex
from lightning_binding.data.shards.reading import Reading

IMAGES = {"image_size": 8, "num_workers": 0, "batch_size": 4}
VIDEOS = {"frame_size": 16, "short_side": 32, "num_workers": 0, "batch_size": 2, "frames": 3, "fps": 10.0}
READING = Reading(block=2)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of pictures; shards of it in the same order, and shuffled."""
    root = tmp_path_factory.mktemp("pictures")
    write_pictures(root / "source")
    write_shards(root / "source", root / "shards", seed=None)
    write_shards(root / "source", root / "shuffled")
    return root


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of videos in `train` and `val`, and shards of them in the same order."""
    root = tmp_path_factory.mktemp("videos")
    for number, name in enumerate(("dancing", "juggling")):
        for index, ending in enumerate((".mp4", ".webm", ".avi")):
            encode(root / "source" / "train" / name / f"{index}{ending}", range(5 * number, 20), marked=index > 0)
        encode(root / "source" / "val" / name / "0.mkv", range(12))
    write_shards(root / "source", root / "shards", seed=None, kind="video")
    return root


def same(a: Any, b: Any) -> None:
    assert a.keys() == b.keys()
    for key in a:
        assert a[key].dtype == b[key].dtype
        assert torch.equal(a[key], b[key])


def test_images_are_those_of_the_folder(pictures: Path) -> None:
    folder = ImageFolderDataModule(str(pictures / "source"), **IMAGES)
    shards = ShardedImageDataModule(str(pictures / "shards"), READING, **IMAGES)
    shards.setup("fit")
    assert shards.class_names == folder.class_names == ["ant", "bee", "cat"]
    draws = [(index, epoch) for epoch in range(3) for index in range(36)]
    same(shards.train_set().__getitems__(draws), folder.train_set().__getitems__(draws))
    for name in ("val", "test", "reference"):
        loaders = [getattr(data, f"{name}_dataloader")() for data in (shards, folder)]
        for a, b in zip(*loaders, strict=True):
            same(a, b)


def test_batches_of_training_are_the_draws_of_the_sampler(pictures: Path) -> None:
    shards = ShardedImageDataModule(str(pictures / "shuffled"), READING, **IMAGES)
    batches = []
    for workers in (0, 2):
        shards.num_workers = workers
        loader = shards.train_dataloader()
        loader.sampler.set_epoch(1)  # type: ignore[attr-defined]
        batches.append(list(loader))
    draws = list(loader.sampler)
    assert sorted(draws) == [(index, 1) for index in range(36)]
    for number, (a, b) in enumerate(zip(*batches, strict=True)):
        same(a, b)
        same(a, shards.train_set().__getitems__(draws[4 * number : 4 * number + 4]))


def test_the_cache_key_names_the_bytes(pictures: Path) -> None:
    key = ShardedImageDataModule(str(pictures / "shards"), READING, **IMAGES).cache_key()
    again = ShardedImageDataModule(str(pictures / "shards"), Reading(), **{**IMAGES, "batch_size": 2}).cache_key()
    other = ShardedImageDataModule(str(pictures / "shards"), draft=False, **IMAGES).cache_key()
    assert key == again != other
    assert ShardedImageDataModule(str(pictures / "shuffled"), READING, **IMAGES).cache_key() not in (key, other)


def test_clips_are_those_of_the_folder(videos: Path, tmp_path: Path) -> None:
    options = {**VIDEOS, "clips_per_video": 2, "horizontal_flip": True, "eval_clips": 2}
    options["broken_files"] = str(tmp_path / "list.txt")
    folder = VideoFolderDataModule(str(videos / "source"), **options)  # type: ignore[arg-type]
    shards = ShardedVideoDataModule(str(videos / "shards"), READING, **options)
    shards.setup("fit")
    assert shards.class_names == folder.class_names == ["dancing", "juggling"]
    draws: list[int | Draw] = [(index, epoch) for epoch in (0, 3) for index in range(12)]
    same(shards.train_set().__getitems__(draws), folder.train_set().__getitems__(draws))
    for a, b in zip(shards.val_dataloader(), folder.val_dataloader(), strict=True):
        same(a, b)
    assert sorted(shards.train_dataloader().sampler) == [(index, 0) for index in range(12)]
    shards.teardown("fit")
    folder.teardown("fit")


@pytest.mark.filterwarnings("ignore:Skipped a broken")
def test_what_cannot_be_decoded_gives_its_place_to_the_next(pictures: Path, tmp_path: Path) -> None:
    """Shards of other programs may hold anything."""
    picture = (pictures / "source" / "train" / "ant" / "1.png").read_bytes()
    chunk = pack(
        [encode_example(Example(data, number, f"{number}.png")) for number, data in enumerate([picture, b"", picture])]
    )
    for side in ("train", "val"):
        (tmp_path / side).mkdir()
        (tmp_path / side / "a.bin").write_bytes(chunk)
        (tmp_path / side / "index.json").write_text(ShardIndex([ChunkInfo("a.bin", 3, len(chunk), None)]).to_json())
    data = ShardedImageDataModule(str(tmp_path), broken_files=str(tmp_path / "list.txt"), **IMAGES)
    assert [label for batch in data.val_dataloader() for label in batch["label"].tolist()] == [0, 2, 2]
    assert (tmp_path / "list.txt").read_text().startswith(f"{tmp_path}/val/1.png\tUnidentifiedImageError")


@pytest.mark.filterwarnings("ignore")
def test_a_restart_reads_what_the_run_would_have_read(pictures: Path, tmp_path: Path) -> None:
    def run(workers: int, ckpt_path: Path | None = None) -> dict[int, bytes]:
        diary = Diary("image")
        saver = ModelCheckpoint(tmp_path / "ckpt", filename="{step}", save_top_k=-1, every_n_train_steps=4)
        trainer = Trainer(
            max_epochs=2, accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False,
            callbacks=[saver], default_root_dir=tmp_path, limit_val_batches=0,
        )  # fmt: skip
        data = ShardedImageDataModule(str(pictures / "shuffled"), READING, **{**IMAGES, "num_workers": workers})
        trainer.fit(diary, data, ckpt_path=ckpt_path)
        return diary.steps

    whole = run(2)
    assert len(whole) == len(set(whole.values())) == 18
    for step in (4, 12):
        rest = run(2 if step == 4 else 0, tmp_path / "ckpt" / f"step={step}.ckpt")
        assert rest == {at: seen for at, seen in whole.items() if at >= step}


def test_a_recipe_reads_shards_by_one_option(pictures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = Path(__file__).parents[3] / "configs" / "rin" / "imagenet64.yaml"
    options = [f"--data.root={pictures}/shards", "--data.reading.block=2", "--print_config"]
    with pytest.raises(SystemExit):
        main(["fit", f"--config={config}", "--data=ShardedImageDataModule", *options])
    data = yaml.safe_load(capsys.readouterr().out)["data"]
    assert data["class_path"] == "lightning_binding.data.ShardedImageDataModule"
    assert data["init_args"]["reading"]["block"] == 2
    assert data["init_args"]["image_size"] == 64
    assert "held_out_share" not in data["init_args"]


@pytest.fixture
def copied(pictures: Path, tmp_path: Path) -> Path:
    shutil.copytree(pictures / "shards", tmp_path / "shards")
    return tmp_path / "shards"


def test_damage_stops_with_a_sentence(copied: Path) -> None:
    chunk = copied / "train" / "chunk-00001.bin"
    chunk.write_bytes(chunk.read_bytes()[:-1])
    data = ShardedImageDataModule(str(copied), **IMAGES)
    with pytest.raises(InputError, match=r"chunk-00001\.bin has .* where the index says"):
        list(data.reference_dataloader())
    chunk.unlink()
    with pytest.raises(InputError, match=r"chunk-00001\.bin cannot be opened: No such file"):
        list(ShardedImageDataModule(str(copied), **IMAGES).reference_dataloader())


def test_wrong_places_and_kinds(copied: Path, videos: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"There is no .*nowhere/train/index\.json; expected are shards"):
        ShardedImageDataModule(str(tmp_path / "nowhere"), **IMAGES).setup("fit")
    with pytest.raises(InputError, match="holds shards of kind video; this data module reads image"):
        ShardedImageDataModule(str(videos / "shards"), **IMAGES).setup("fit")
    with pytest.raises(InputError, match="holds shards of kind image; this data module reads video"):
        ShardedVideoDataModule(str(copied), **VIDEOS).setup("fit")
    index = copied / "train" / "index.json"
    found = json.loads(index.read_text())
    found["chunks"][0]["filename"] = "../val/chunk-00000.bin"
    index.write_text(json.dumps(found))
    with pytest.raises(InputError, match="expected is a plain name"):
        ShardedImageDataModule(str(copied), **IMAGES).setup("fit")


def test_a_folder_of_shards_is_not_one_of_images(pictures: Path) -> None:
    with pytest.raises(InputError, match=r"no images .*\. These are shards, which ShardedImageDataModule reads\."):
        ImageFolderDataModule(str(pictures / "shards"), **IMAGES).setup("fit")
