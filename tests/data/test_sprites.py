"""The embedded video: reproducible, held out by emoji, and fit to propagate masks in."""

import hashlib

import numpy as np
import pytest
import torch
from data.diary import Diary
from jsonargparse import ArgumentParser
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from PIL import Image

from lightning_binding import InputError
from lightning_binding.data import MovingSpritesDataModule
from lightning_binding.data.emoji_archive import load_emoji
from lightning_binding.data.sprite_motion import Motion
from lightning_binding.data.sprite_scene import Stage, moving_sprites
from lightning_binding.masks import read_mask


def small(**options):
    return MovingSpritesDataModule(**{"frame_size": 16, "frames": 3, "train_clips": 10, "batch_size": 4, **options})


def epoch(data, number):
    loader = data.train_dataloader()
    loader.sampler.set_epoch(number)
    return list(loader)


def test_batches_are_clips_with_masks():
    batch = epoch(small(frame_size=(20, 24)), 0)[0]
    assert batch["video"].shape == (4, 3, 3, 20, 24)
    assert batch["mask"].shape == (4, 3, 20, 24)
    assert batch["video"].dtype == batch["mask"].dtype == torch.uint8
    assert batch["mask"].max() <= 4


def test_clips_depend_on_seed_epoch_and_index_alone():
    first = epoch(small(), 0)
    for other in (epoch(small(), 0), epoch(small(num_workers=2), 0)):
        assert len(other) == len(first) == 2
        for a, b in zip(first, other, strict=True):
            assert torch.equal(a["video"], b["video"])
            assert torch.equal(a["mask"], b["mask"])
    seen = [first, epoch(small(), 1), epoch(small(seed=1), 0)]
    clips = [hashlib.md5(clip.numpy().tobytes()).digest() for batches in seen for b in batches for clip in b["video"]]
    assert len(set(clips)) == len(clips) == 24
    clip, again = (small().train_set()[3, 7] for _ in range(2))
    assert torch.equal(clip["video"], again["video"])


def test_clips_do_not_depend_on_the_number_of_threads():
    data = small(frame_size=(150, 260)).train_set()
    single = data[0]
    torch.set_num_threads(2)
    try:
        double = data[0]
    finally:
        torch.set_num_threads(1)
    assert torch.equal(single["video"], double["video"])
    assert torch.equal(single["mask"], double["mask"])


def test_no_emoji_is_on_both_sides():
    emoji = load_emoji()
    group = {tile.numpy().tobytes(): name for tile, name in zip(emoji.pixels, emoji.group, strict=True)}
    data = small()
    train, held = (
        {group[tile.numpy().tobytes()] for tile in pixels.pixels} for pixels in (data.train_set(), data.eval_set())
    )
    assert not train & held
    assert len(held) > 50
    assert len(small(vendors=["google"]).train_set().pixels) < len(data.train_set().pixels)
    assert len(small(skin_tones=True).train_set().pixels) == (~emoji.held_out).sum()


def test_every_object_shows_in_the_first_frame():
    data = small(frame_size=(32, 48), eval_sequences=12, eval_frames=5, sprites=(3, 5))
    for index, sequence in enumerate(data.eval_set()):
        assert sequence["name"] == f"sprites-{index:04d}"
        assert sequence["frame_names"] == [f"{frame:05d}" for frame in range(5)]
        assert sequence["video"].shape == (5, 3, 32, 48)
        count = sequence["mask"][0].flatten().bincount()
        assert 4 <= len(count) <= 6
        assert (count[1:] >= 0.005 * 32 * 48).all()
        assert sequence["mask"].max() < len(count)
    assert index == 11


def test_held_out_sequences_are_the_same_whatever_the_seed():
    first, other = (small(seed=seed, eval_frames=3).eval_set()[4] for seed in (0, 1))
    assert torch.equal(first["video"], other["video"])


def test_what_cannot_be_seen_is_said():
    with pytest.raises(InputError, match=r"in none of 200 scenes.*all of them fill 0\.5%"):
        small(sprites=(3, 3), sprite_size=(0.01, 0.01)).eval_set()[0]


def test_objects_move_no_faster_than_they_should():
    """The centre of a disc's mask, seen in full, moves by its speed; what is left is rounding to pixels."""
    y, x = np.mgrid[:32, :32] - 15.5
    disc = torch.zeros(1, 4, 32, 32, dtype=torch.uint8)
    disc[:, 1::2] = torch.from_numpy((np.hypot(x, y) < 15).astype(np.uint8) * 255)
    stage = Stage(64, 64, (1, 1), Motion((0.3, 0.3), (0.05, 0.05), (0.0, 20.0), (0.0, 0.0)))
    rows, columns = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
    steps = []
    for seed in range(5):
        mask = moving_sprites(np.random.default_rng(seed), disc, stage, 20)["mask"]
        whole = (mask[:, [0, -1]] == 0).flatten(1).all(1) & (mask[:, :, [0, -1]] == 0).flatten(1).all(1)
        centre = torch.stack([torch.stack([rows[m == 1].mean(), columns[m == 1].mean()]) for m in mask])
        step = (centre[1:] - centre[:-1]).norm(dim=1)
        steps += step[whole[1:] & whole[:-1]].tolist()
    assert len(steps) > 30
    assert max(steps) <= 0.05 * 64 + 0.3
    assert np.median(steps) == pytest.approx(3.2, abs=0.15)


def test_the_first_frames_do_not_tell_where_the_background_is():
    """The background moves under the sprites: pixels that stay background change."""
    clip = moving_sprites(np.random.default_rng(0), load_emoji().pixels, Stage(camera=0.02), 6)
    behind = (clip["mask"] == 0).all(0)
    video = clip["video"].float()
    assert (video[5] - video[0]).abs().mean(0)[behind].mean() > 2


def test_backgrounds_can_be_pictures(tmp_path):
    Image.new("RGB", (40, 40), (7, 200, 90)).save(tmp_path / "green.png")
    clip = small(background=str(tmp_path), sprites=(1, 1)).train_set()[0]
    corner = clip["video"].permute(0, 2, 3, 1)[clip["mask"] == 0].float().median(0).values
    assert corner.tolist() == [7, 200, 90]


def test_written_sequences_are_read_again(tmp_path):
    data = small(eval_sequences=2, eval_frames=3)
    data.write_davis(str(tmp_path / "set"))
    names = (tmp_path / "set" / "ImageSets" / "2017" / "val.txt").read_text().split()
    assert names == ["sprites-0000", "sprites-0001"]
    mask = read_mask(tmp_path / "set" / "Annotations" / "480p" / names[1] / "00002.png")
    assert torch.equal(mask, data.eval_set()[1]["mask"][2])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"frame_size": 0}, "frame_size is 0"),
        ({"frames": 0}, "frames is 0; it must be 1 or more"),
        ({"sprites": (3, 2)}, r"sprites is \(3, 2\); it must be the least and the most"),
        ({"camera": -0.1}, "camera is -0.1"),
        ({"speed": (0.2, 0.1)}, "it must be a range"),
        ({"vendors": ["appel"]}, "vendors names 'appel'"),
        ({"background": "nowhere"}, "background is 'nowhere'"),
        ({"batch_size": 0}, "batch_size is 0"),
    ],
)
def test_wrong_options_are_refused(wrong, message):
    with pytest.raises(InputError, match=message):
        small(**wrong)


def test_the_command_line_takes_sizes_and_ranges():
    parser = ArgumentParser()
    parser.add_class_arguments(MovingSpritesDataModule, "data")
    for given, size in (("[24, 32]", (24, 32)), ("16", (16, 16))):
        config = parser.parse_args([f"--data.frame_size={given}", "--data.sprites=[1, 2]", "--data.spin=[0, 0]"])
        clip = MovingSpritesDataModule(**config.as_dict()["data"]).train_set()[0]
        assert clip["video"].shape == (4, 3, *size)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("workers", [0, 2])
def test_a_run_that_stops_within_an_epoch_goes_on_with_its_next_clips(tmp_path, workers):
    def run(callbacks=(), ckpt_path=None):
        diary = Diary("video")
        trainer = Trainer(
            max_epochs=2, accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False,
            callbacks=list(callbacks), enable_checkpointing=bool(callbacks), default_root_dir=tmp_path,
        )  # fmt: skip
        data = small(batch_size=2, num_workers=workers, seed=5)
        trainer.fit(diary, train_dataloaders=None, datamodule=data, ckpt_path=ckpt_path)
        return diary.steps

    saver = ModelCheckpoint(tmp_path / "ckpt", filename="{step}", save_top_k=-1, every_n_train_steps=3)
    whole = run([saver])
    assert len(set(whole.values())) == 10
    for step in (3, 6):
        rest = run(ckpt_path=tmp_path / "ckpt" / f"step={step}.ckpt")
        assert rest == {s: seen for s, seen in whole.items() if s >= step}
