"""The embedded emoji: the archive, the split, compositing and reproducibility."""

import importlib.util
import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from lightning_binding import InputError
from lightning_binding.data import EmojiDataModule
from lightning_binding.data.compositing import composite, premultiply
from lightning_binding.data.emoji_archive import CLASS_NAMES, load_emoji

ROOT = Path(__file__).parents[2]
EMBEDDED = ROOT / "lightning_binding" / "data" / "embedded"


@pytest.fixture(scope="module")
def build():
    spec = importlib.util.spec_from_file_location("build_emoji", ROOT / "scripts" / "build_emoji.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_archive_is_small_attributed_and_free_of_pickles():
    assert (EMBEDDED / "emoji.npz").stat().st_size <= 10e6
    notice = (EMBEDDED / "ATTRIBUTION.md").read_text()
    for needed in ("Twemoji", "CC BY 4.0", "Noto Emoji", "Apache License 2.0", "Twitter, Inc", "Google", "Changes"):
        assert needed in notice
    assert "END OF TERMS AND CONDITIONS" in (EMBEDDED / "LICENSE-APACHE-2.0.txt").read_text()
    with np.load(EMBEDDED / "emoji.npz", allow_pickle=False) as stored:
        assert all(stored[key].dtype != object for key in stored.files)
        assert tuple(stored["class_names"]) == CLASS_NAMES
        assert f"{len(stored['label']):,} drawings" in notice


def test_no_drawing_twice_and_every_class_on_both_sides():
    emoji = load_emoji()
    assert emoji.pixels.shape == (len(emoji.label), 4, 32, 32)
    assert len({tile.numpy().tobytes() for tile in emoji.pixels}) == len(emoji.pixels)
    assert emoji.pixels[:, :3].permute(0, 2, 3, 1)[emoji.pixels[:, 3] == 0].max() == 0
    for side in (True, False):
        assert set(emoji.label[emoji.held_out == side]) == set(range(9))


def test_no_group_on_both_sides_and_a_tenth_is_held_out():
    emoji = load_emoji()
    held, train = set(emoji.group[emoji.held_out]), set(emoji.group[~emoji.held_out])
    assert not held & train
    assert 0.08 < len(held) / len(held | train) < 0.12
    # A drawing's name is the emoji's, with its skin tone: vendors and tones of one name are in one group.
    groups = {}
    for name, group in zip(emoji.name, emoji.group, strict=True):
        groups.setdefault(name.split("_1f3f")[0], set()).add(group)
    assert max(len(found) for found in groups.values()) == 1
    people = {str(group) for name, group in zip(emoji.name, emoji.group, strict=True) if name in (
        "female-doctor", "male-doctor", "health_worker")}  # fmt: skip
    assert len(people) == 1


def test_without_skin_tones_and_with_one_vendor():
    whole = EmojiDataModule(image_size=8)
    plain = EmojiDataModule(image_size=8, skin_tones=False)
    single = EmojiDataModule(image_size=8, skin_tones=False, vendors=["twitter"])
    emoji = load_emoji()
    counts = [len(d.train_set()) + len(d.eval_set()) for d in (whole, plain, single)]
    assert counts[0] == len(emoji.label)
    assert counts[1] == (~emoji.is_variant).sum()
    assert counts[2] == (~emoji.is_variant & (emoji.vendor == "twitter")).sum()
    assert (emoji.label[emoji.is_variant] == CLASS_NAMES.index("People & Body")).all()


pixel = st.integers(0, 255)


@given(st.tuples(pixel, pixel, pixel), pixel, st.tuples(pixel, pixel, pixel))
def test_composite_is_the_mixture_of_colours(colour, alpha, background):
    tile = torch.tensor([*colour, alpha], dtype=torch.uint8)[None, :, None, None].expand(1, 4, 2, 2)
    mixed = composite(premultiply(tile, 2), torch.tensor([background], dtype=torch.uint8))
    exact = [(c * alpha + b * (255 - alpha)) / 255 for c, b in zip(colour, background, strict=True)]
    # Two roundings of halves at most; none where the tile is opaque or absent.
    assert (mixed[0, :, 0, 0] - torch.tensor(exact)).abs().max() <= (1 if 0 < alpha < 255 else 0)


@settings(max_examples=20)
@given(st.integers(0, 2**32 - 1))
def test_composite_against_exact_integers(seed):
    random = np.random.default_rng(seed)
    alpha = random.integers(0, 256, (3, 1, 4, 4))
    colour = random.integers(0, 256, (3, 3, 4, 4)) * alpha // 255
    background = random.integers(0, 256, (3, 3))
    behind = ((255 - alpha) * background[:, :, None, None] * 2 + 255) // 510
    tile = torch.from_numpy(np.concatenate([colour, alpha], 1).astype(np.uint8))
    result = composite(tile, torch.from_numpy(background.astype(np.uint8)))
    np.testing.assert_array_equal(result.numpy(), colour + behind)


@pytest.mark.parametrize("size", [16, 24, 48])
def test_resizing_and_compositing_commute(size):
    """Laid over a colour first and resized by Pillow afterwards, a second way, gives the same picture."""
    pixels = load_emoji().pixels[::500]
    colour = (30, 200, 90)
    ours = composite(premultiply(pixels, size), torch.tensor([colour], dtype=torch.uint8).expand(len(pixels), 3))
    for tile, our in zip(pixels, ours, strict=True):
        over = Image.new("RGBA", (32, 32), (*colour, 255))
        over.alpha_composite(Image.fromarray(tile.permute(1, 2, 0).numpy()))
        method = Image.Resampling.BOX if size == 16 else Image.Resampling.BICUBIC
        theirs = np.asarray(over.convert("RGB").resize((size, size), method)).astype(int)
        difference = np.abs(our.permute(1, 2, 0).numpy() - theirs)
        # Overshoots of a bicubic are clipped at alpha here and at white there; hence the few larger differences.
        assert difference.mean() < (0.5 if size == 16 else 1.0)
        assert difference.max() <= (2 if size == 16 else 60)


def batches(data, epoch=0):
    loader = data.train_dataloader()
    loader.sampler.set_epoch(epoch)
    return torch.cat([batch["image"].flatten(1) for batch in loader])


def test_a_seed_decides_the_epoch_whatever_the_workers():
    settings = {"image_size": 8, "skin_tones": False, "batch_size": 64}
    first = batches(EmojiDataModule(**settings, seed=1), epoch=3)
    assert torch.equal(first, batches(EmojiDataModule(**settings, seed=1, num_workers=2), epoch=3))
    assert not torch.equal(first, batches(EmojiDataModule(**settings, seed=2), epoch=3))
    assert not torch.equal(first, batches(EmojiDataModule(**settings, seed=1), epoch=4))


def test_persistent_workers_learn_of_a_new_epoch():
    data = EmojiDataModule(image_size=8, skin_tones=False, batch_size=64, num_workers=1)
    loader = data.train_dataloader()
    for epoch in range(2):
        loader.sampler.set_epoch(epoch)
        drawn = torch.cat([batch["image"].flatten(1) for batch in loader])
        alone = EmojiDataModule(image_size=8, skin_tones=False, batch_size=64)
        assert torch.equal(drawn, batches(alone, epoch))


def test_colours_change_in_training_and_stay_in_the_reference():
    data = EmojiDataModule(image_size=8, skin_tones=False, seed=1)
    train, reference = data.train_set(), data.reference_set()
    indices = list(range(200))
    first, second = (train.__getitems__([(i, epoch) for i in indices])["image"] for epoch in (0, 1))
    assert (first != second).flatten(1).any(1).float().mean() > 0.7  # squares and flags hide their ground
    other = EmojiDataModule(image_size=8, skin_tones=False, seed=2).reference_set()
    fixed = reference.__getitems__(indices)["image"]
    assert torch.equal(fixed, other.__getitems__([(i, 7) for i in indices])["image"])
    assert torch.equal(fixed[5], reference[5]["image"])


def test_the_ground_is_uniform_over_colours():
    data = EmojiDataModule(image_size=32, skin_tones=False)
    train = data.train_set()
    clear = (train.premultiplied[:, 3, 0, 0] == 0).nonzero()[:, 0].tolist()
    colours = train.__getitems__([(i, 0) for i in clear])["image"][:, :, 0, 0].double()
    assert len(clear) > 1000
    assert (colours.mean(0) - 127.5).abs().max() < 5 * 73.9 / len(clear) ** 0.5


def test_the_flip_mirrors_half_of_the_images():
    options = {"image_size": 8, "skin_tones": False}
    plain = EmojiDataModule(**options).train_set()
    flipped = EmojiDataModule(**options, horizontal_flip=True).train_set()
    draws = [(i, 0) for i in range(1000)]
    a, b = plain.__getitems__(draws)["image"], flipped.__getitems__(draws)["image"]
    same, mirror = (a == b).flatten(1).all(1), (a.flip(-1) == b).flatten(1).all(1)
    assert (same | mirror).all()
    assert 400 < (mirror & ~same).sum() + (mirror & same).sum() / 2 < 600


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"vendors": ["googel"]}, r"'googel'.*did you mean google\?"),
        ({"vendors": []}, "vendors is empty"),
        ({"image_size": 0}, "image_size is 0; it must be 1 or more"),
        ({"batch_size": -1}, "batch_size is -1"),
        ({"eval_batch_size": 0}, "eval_batch_size is 0"),
        ({"num_workers": -1}, "num_workers is -1"),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(InputError, match=message):
        EmojiDataModule(**options)


@pytest.mark.parametrize(
    ("unified", "base"),
    [
        ("1F468-200D-2695-FE0F", "1F9D1-2695"),  # man health worker
        ("1F469-1F3FB-200D-2695-FE0F", "1F9D1-2695"),  # woman health worker, light skin
        ("1F3C3-200D-2642-FE0F-200D-27A1-FE0F", "1F3C3"),  # man running to the right
        ("1F468-200D-1F469-200D-1F466", "1F46A"),  # a family
        ("1F469-200D-2764-FE0F-200D-1F48B-200D-1F469", "1F9D1-2764-1F48B-1F9D1"),  # a kiss
        ("2640-FE0F", "2640-FE0F"),  # the sign itself is an emoji
        ("1F1F3-1F1F4", "1F1F3-1F1F4"),
    ],
)
def test_base_emoji(build, unified, base):
    assert build.base_emoji(unified) == base


def png(*colour):
    stream = io.BytesIO()
    Image.new("RGBA", (64, 64), colour).save(stream, "PNG")
    return stream.getvalue()


def test_the_script_builds_the_same_bytes_and_merges_identical_drawings(build, tmp_path, capsys):
    tone = {"image": "a-tone.png", "has_img_twitter": True, "has_img_google": False}
    entries = [
        {"unified": "1F600", "image": "a.png", "short_name": "a", "category": "Smileys & Emotion", "sort_order": 2,
         "skin_variations": {"1F3FB": tone}},
        {"unified": "1F1E6", "image": "b.png", "short_name": "b", "category": "Flags", "sort_order": 1},
        {"unified": "1F3FB", "image": "c.png", "short_name": "c", "category": "Component", "sort_order": 3},
    ]  # fmt: skip
    for vendor in ("twitter", "google"):
        folder = tmp_path / vendor / "package" / "img" / vendor / "64"
        folder.mkdir(parents=True)
        listed = [{"has_img_twitter": True, "has_img_google": True, **entry} for entry in entries]
        (tmp_path / vendor / "package" / "emoji.json").write_text(json.dumps(listed))
        (folder / "a.png").write_bytes(png(255, 0, 0, 255) if vendor == "twitter" else png(9, 9, 9, 255))
        (folder / "a-tone.png").write_bytes(png(0, 255, 0, 128))
        (folder / "b.png").write_bytes(png(0, 0, 255, 255) if vendor == "twitter" else png(255, 0, 0, 255))
    outputs = [tmp_path / "one.npz", tmp_path / "two.npz"]
    for output in outputs:
        build.build([tmp_path / "twitter", tmp_path / "google"], output)
    assert outputs[0].read_bytes() == outputs[1].read_bytes()
    with np.load(outputs[0], allow_pickle=False) as stored:
        # Google's b is Twitter's a: it is left out, and the groups of both emoji are one.
        assert stored["name"].tolist() == ["b", "a", "a_1f3fb", "a"]
        assert stored["vendor"].tolist() == [0, 0, 0, 1]
        assert stored["is_variant"].tolist() == [False, False, True, False]
        assert stored["group"].tolist() == [0, 0, 0, 0]
        assert stored["class_names"].tolist() == ["Flags", "Smileys & Emotion"]
        sheet = np.asarray(Image.open(io.BytesIO(stored["atlas_twitter"].tobytes())).convert("RGBA"))
    assert sheet[:32, 32:64].reshape(-1, 4).tolist() == [[255, 0, 0, 255]] * 1024
    assert sheet[32:64, :32].reshape(-1, 4).tolist() == [[0, 255, 0, 128]] * 1024
