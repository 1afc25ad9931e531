"""DAVIS and VIP: both releases' layouts, exact pixels, and what is wrong with a copy in words."""

import shutil
from pathlib import Path

import pytest
import torch
from layouts import DAVIS, moving_squares, write_davis, write_vip
from PIL import Image

from lightning_binding.data import DAVISDataModule, VIPDataModule
from lightning_binding.errors import InputError
from lightning_binding.masks import write_mask

JPEG_ERROR = 5  # mean error that JPEG makes of noise, at most


def sequences(data: DAVISDataModule | VIPDataModule) -> list[dict[str, object]]:
    data.setup("validate")
    return list(data.val_dataloader())


def test_davis_2017(tmp_path: Path) -> None:
    found = sequences(DAVISDataModule(str(write_davis(tmp_path)), num_workers=0))
    assert [sequence["name"] for sequence in found] == list(DAVIS)
    for seed, sequence in enumerate(found):
        video, mask = moving_squares(1 + seed, DAVIS[str(sequence["name"])], seed=seed)
        assert torch.equal(sequence["mask"], mask)
        assert sequence["video"].dtype == torch.uint8
        assert (sequence["video"].float() - video.float()).abs().mean() < JPEG_ERROR
        assert sequence["frame_names"] == [f"{time:05d}" for time in range(len(video))]


def test_in_worker_processes_nothing_changes(tmp_path: Path) -> None:
    root = str(write_davis(tmp_path))
    here, there = (sequences(DAVISDataModule(root, num_workers=workers)) for workers in (0, 1))
    for one, other in zip(here, there, strict=True):
        assert torch.equal(one["video"], other["video"])
        assert one["name"] == other["name"]


@pytest.mark.parametrize("archive", [2016, 2017])
def test_davis_2016_is_one_object(tmp_path: Path, archive: int) -> None:
    root = write_davis(tmp_path)
    lists = root / "ImageSets"
    if archive == 2017:
        (lists / "2016").mkdir()
        (lists / "2016" / "val.txt").write_text("two-dogs\n")
    else:  # grey masks of 0 and 255, and a list of files
        shutil.rmtree(lists / "2017")
        (lists / "480p").mkdir()
        for name in ("JPEGImages", "Annotations"):
            assert (root / name / "480p" / "two-dogs" / "00000.jpg").exists() == (name == "JPEGImages")
        for path in (root / "Annotations" / "480p" / "two-dogs").iterdir():
            Image.open(path).point(lambda value: 255 * (value > 0), "L").save(path)
        rows = [f"/JPEGImages/480p/two-dogs/{t:05d}.jpg /Annotations/480p/two-dogs/{t:05d}.png" for t in range(5)]
        (lists / "480p" / "val.txt").write_text("\n".join(rows) + " \n")
    (found,) = sequences(DAVISDataModule(str(root), year="2016", num_workers=0))
    assert torch.equal(found["mask"], (moving_squares(2, 5, seed=1)[1] > 0).to(torch.uint8))


def test_masks_that_a_program_made_rgb_keep_their_ids(tmp_path: Path) -> None:
    root = write_davis(tmp_path)
    for path in (root / "Annotations").glob("**/*.png"):
        Image.open(path).convert("RGB").save(path)
    for seed, found in enumerate(sequences(DAVISDataModule(str(root), num_workers=0))):
        assert torch.equal(found["mask"], moving_squares(1 + seed, len(found["mask"]), seed=seed)[1])


def test_a_mask_of_the_first_frame_alone(tmp_path: Path) -> None:
    root = write_davis(tmp_path)
    for path in (root / "Annotations" / "480p" / "bear").glob("*.png"):
        if path.stem != "00000":
            path.unlink()
    bear, dogs = sequences(DAVISDataModule(str(root), num_workers=0))
    assert torch.equal(bear["mask"], moving_squares(1, 1)[1])
    assert len(bear["video"]) == 6
    assert len(dogs["mask"]) == 5


def lists(root: Path) -> Path:
    return root / "ImageSets" / "2017" / "val.txt"


def annotation(root: Path, time: int) -> Path:
    return root / "Annotations" / "480p" / "bear" / f"{time:05d}.png"


def frame(root: Path, time: int) -> Path:
    return root / "JPEGImages" / "480p" / "bear" / f"{time:05d}.jpg"


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda root: lists(root).rename(lists(root).with_name("dev.txt")),
            "no list .*val.txt; there are dev",
        ),
        (lambda root: shutil.rmtree(root / "ImageSets"), "no list .*val.txt; is .* the folder of the dataset"),
        (lambda root: lists(root).write_text("\n"), "val.txt names no sequence"),
        (lambda root: lists(root).write_text("bear\ncat"), "sequence cat has no frames: there is no folder .*cat"),
        (lambda root: shutil.rmtree(annotation(root, 0).parent), "sequence bear has frames but no annotations"),
        (lambda root: [path.unlink() for path in frame(root, 0).parent.iterdir()], "bear has no frames"),
        (lambda root: annotation(root, 0).unlink(), r"has no 00000\.png: the first frame must have"),
        (lambda root: annotation(root, 3).unlink(), r"5 annotations for 6 frames, 00003\.png is missing"),
        (lambda root: frame(root, 5).unlink(), r"the annotation .*00005\.png belongs to no frame"),
    ],
)
def test_what_is_missing_is_found_on_set_up(tmp_path: Path, spoil: object, message: str) -> None:
    root = write_davis(tmp_path)
    spoil(root)  # type: ignore[operator]
    with pytest.raises(InputError, match=message):
        DAVISDataModule(str(root)).setup("validate")


def small(path: Path) -> None:
    write_mask(path, torch.ones(40, 64, dtype=torch.uint8))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda root: small(annotation(root, 2)), r"00002\.png has 64 x 40 pixels, its frame 64 x 48"),
        (
            lambda root: Image.new("RGB", (60, 48)).save(frame(root, 2)),
            "frame 2 of .*bear has 60 x 48 pixels",
        ),
        (lambda root: frame(root, 1).write_bytes(b"no picture"), r"00001\.jpg cannot be read as a picture"),
        (lambda root: annotation(root, 1).write_bytes(b"no picture"), r"00001\.png cannot be read as a picture"),
        (lambda root: Image.new("RGB", (64, 48), (1, 2, 3)).save(annotation(root, 1)), "not in the palette of DAVIS"),
    ],
)
def test_what_is_wrong_with_a_file_is_said_when_it_is_read(tmp_path: Path, spoil: object, message: str) -> None:
    root = write_davis(tmp_path)
    spoil(root)  # type: ignore[operator]
    with pytest.raises(InputError, match=message):
        sequences(DAVISDataModule(str(root), num_workers=0))


def test_davis_is_not_trained_on(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="DAVISDataModule has no clips to train on"):
        DAVISDataModule(str(tmp_path)).train_dataloader()


def test_vip(tmp_path: Path) -> None:
    found = sequences(VIPDataModule(str(write_vip(tmp_path)), num_workers=0))
    assert [sequence["name"] for sequence in found] == ["videos1", "videos2"]
    for seed, sequence in enumerate(found):
        assert torch.equal(sequence["mask"], moving_squares(2, 4, seed=seed)[1] * 9)
        assert sequence["frame_names"][1] == "000000000050"
    assert len(VIPDataModule.classes) == 20


def test_vip_says_what_is_missing(tmp_path: Path) -> None:
    root = write_vip(tmp_path)
    with pytest.raises(InputError, match=r"no list .*test_videos\.txt; there are val_videos beside it"):
        VIPDataModule(str(root), split="test_videos").setup("test")
