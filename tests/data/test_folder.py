"""Folders of images: layouts, broken files, and what is wrong in words."""

import shutil

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.loggers import CSVLogger
from PIL import Image

from lightning_binding import InputError
from lightning_binding.data import ImageFolderDataModule
from lightning_binding.data.broken import BrokenFiles, TooManyBroken

SIZE = 8


def put(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (SIZE, SIZE), (value, value, value)).save(path)
    return path


def spoil(path):
    path.write_bytes(path.read_bytes()[:40])
    return path


def imagenet(root, per_class=4):
    """Three classes; the pixels of image `i` of class `c` are `50 c + i`, plus 20 in `val`."""
    for split, extra in (("train", 0), ("val", 20)):
        for number, name in enumerate(["ant", "bee", "cat"]):
            for i in range(per_class):
                put(root / split / name / f"{i}.png", 50 * number + i + extra)
    return root


def module(root, **options):
    return ImageFolderDataModule(str(root), **{"image_size": SIZE, "num_workers": 0, "batch_size": 4, **options})


def read(loader):
    pairs = [(image, label) for b in loader for image, label in zip(b["image"], b["label"], strict=True)]
    return [(int(image[0, 0, 0]), int(label)) for image, label in pairs]


def test_imagenets_layout(tmp_path):
    data = module(imagenet(tmp_path))
    assert data.class_names == ["ant", "bee", "cat"]
    assert data.num_classes == 3
    assert read(data.reference_dataloader()) == [(50 * c + i, c) for c in range(3) for i in range(4)]
    assert read(data.val_dataloader()) == [(50 * c + i + 20, c) for c in range(3) for i in range(4)]
    assert sorted(read(data.train_dataloader())) == read(data.reference_dataloader())
    batch = next(iter(data.train_dataloader()))
    assert batch["image"].dtype == torch.uint8
    assert batch["image"].shape == (4, 3, SIZE, SIZE)


def test_predictions_are_of_the_held_out_images(tmp_path):
    data = module(imagenet(tmp_path))
    assert read(data.predict_dataloader()) == read(data.val_dataloader())


def test_the_cache_key_names_what_the_reference_depends_on(tmp_path):
    imagenet(tmp_path)
    key = module(tmp_path).cache_key()
    assert module(tmp_path, seed=3, batch_size=2, horizontal_flip=False, max_broken=0.5).cache_key() == key
    changes = [{"image_size": 4}, {"draft": False}, {"background": (0, 0, 0)}, {"exif_orientation": True}]
    keys = {key, module(tmp_path, unlabelled=True).cache_key(), *(module(tmp_path, **c).cache_key() for c in changes)}
    assert len(keys) == 6
    (tmp_path / "train" / "ant" / "0.png").rename(tmp_path / "train" / "ant" / "9.png")  # as many files, but others
    assert module(tmp_path).cache_key() not in keys


def test_a_val_root_elsewhere_may_lack_classes(tmp_path):
    imagenet(tmp_path / "here")
    put(tmp_path / "there" / "cat" / "deep" / "x.JPEG.png", 7)
    data = module(tmp_path / "here" / "train", val_root=str(tmp_path / "there"))
    assert read(data.val_dataloader()) == [(7, 2)]
    assert len(data.train_set()) == 12


def test_a_flat_folder_has_no_classes_and_holds_a_share_out(tmp_path):
    for i in range(100):
        put(tmp_path / f"{i}.png", i)
    (tmp_path / "notes.txt").write_text("not an image")
    put(tmp_path / ".hidden.png", 200)
    data = module(tmp_path, held_out_share=0.2)
    assert (data.num_classes, data.class_names) == (0, [])
    train, held = read(data.reference_dataloader()), read(data.val_dataloader())
    assert sorted(value for value, _ in train + held) == list(range(100))
    assert {label for _, label in train + held} == {-1}
    assert 8 <= len(held) <= 32
    for i in range(100, 150):  # more images move none from side to side
        put(tmp_path / f"{i}.png", i)
    assert set(held) <= set(read(module(tmp_path, held_out_share=0.2).val_dataloader()))


def test_unlabelled_takes_all_depths(tmp_path):
    imagenet(tmp_path)
    put(tmp_path / "train" / "loose.png", 1)
    with pytest.raises(InputError, match=r"holds images \(loose\.png, …\) beside folders \(ant, …\).*unlabelled: true"):
        module(tmp_path).class_names  # noqa: B018
    data = module(tmp_path, unlabelled=True)
    assert data.num_classes == 0
    assert len(data.train_set()) == 13


def test_training_flips_and_the_reference_does_not(tmp_path):
    ramp = np.arange(SIZE, dtype=np.uint8)[None, :, None].repeat(SIZE, 0).repeat(3, 2)
    for i in range(200):
        Image.fromarray(ramp).save(tmp_path / f"{i}.png")
    data = module(tmp_path)
    assert {int(b) for b in torch.cat([b["image"][:, 0, 0, 0] for b in data.reference_dataloader()])} == {0}
    first = torch.cat([b["image"][:, 0, 0, 0] for b in data.train_dataloader()])
    assert set(first.tolist()) == {0, SIZE - 1}
    assert 0.35 < (first == 0).float().mean() < 0.65
    plain = module(tmp_path, horizontal_flip=False)
    assert {int(v) for b in plain.train_dataloader() for v in b["image"][:, 0, 0, 0]} == {0}


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.filterwarnings("ignore:Skipped a broken image")
def test_a_broken_image_is_listed_once_and_the_next_takes_its_place(tmp_path, workers):
    root = imagenet(tmp_path / "images", per_class=10)
    broken = [spoil(root / "train" / "ant" / "3.png"), spoil(root / "train" / "cat" / "9.png")]
    (root / "train" / "bee" / "0.png").write_bytes(b"")
    broken.append(root / "train" / "bee" / "0.png")
    listed = tmp_path / "deep" / "broken.txt"
    data = module(root, num_workers=workers, max_broken=0.2, broken_files=str(listed), batch_size=3)
    expected = [(50 * c + i, c) for c in range(3) for i in range(10)]
    expected[3], expected[29], expected[10] = expected[4], expected[0], expected[11]
    for _ in range(2):
        assert read(data.reference_dataloader()) == expected
        loader = data.train_dataloader()
        for epoch in range(2):
            loader.sampler.set_epoch(epoch)
            assert sorted(read(loader)) == sorted(expected)
    lines = listed.read_text().splitlines()
    paths = [line.split("\t")[0] for line in lines]
    # Two workers may find one at the same moment; otherwise each is there once.
    assert set(paths) == {str(path) for path in broken}
    assert len(paths) <= len(broken) * max(1, workers)
    assert all(len(line.split("\t")[1]) > 5 for line in lines)


def test_a_broken_image_warns(tmp_path):
    spoil(imagenet(tmp_path) / "train" / "ant" / "3.png")
    data = module(tmp_path, broken_files=str(tmp_path / "list.txt"))
    with pytest.warns(UserWarning, match=r"Skipped a broken image, .*ant/3\.png \(.*\); the list is .*list\.txt"):
        read(data.reference_dataloader())


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.filterwarnings("ignore:Skipped a broken image")
def test_too_many_broken_images_stop_the_run_in_one_sentence(tmp_path, workers):
    root = imagenet(tmp_path / "images")
    for i in range(3):
        spoil(root / "train" / "bee" / f"{i}.png")
    listed = tmp_path / "list.txt"
    data = module(root, num_workers=workers, max_broken=0.2, broken_files=str(listed))
    with pytest.raises(InputError, match="max_broken") as caught:
        read(data.reference_dataloader())
    assert str(caught.value) == (
        f"3 of the 12 images under {root}/train/ cannot be read, more than the 2 that max_broken tolerates; they are "
        f"listed in {listed}. Mend or remove them (and that list), or raise max_broken."
    )


@pytest.mark.filterwarnings("ignore:Skipped a broken image")
def test_one_broken_image_is_tolerated_unless_none_is(tmp_path):
    root = imagenet(tmp_path / "images")
    spoil(root / "train" / "bee" / "1.png")
    assert len(read(module(root, broken_files=str(tmp_path / "a.txt")).reference_dataloader())) == 12
    with pytest.raises(TooManyBroken, match="1 of the 12 images"):
        read(module(root, max_broken=0, broken_files=str(tmp_path / "b.txt")).reference_dataloader())


@pytest.mark.filterwarnings("ignore:Skipped a broken image")
def test_an_image_that_vanishes_is_a_broken_one_and_one_that_is_alone_ends_the_search(tmp_path):
    path = put(tmp_path / "images" / "a.png", 1)
    put(tmp_path / "val" / "b.png", 2)
    data = module(path.parent, val_root=str(tmp_path / "val"), broken_files=str(tmp_path / "list.txt"))
    loader = data.reference_dataloader()
    path.unlink()
    message = r"None of 1 images under .* can be read; .* others are chosen by val_root or, .*, by held_out_share\."
    with pytest.raises(InputError, match=message):
        read(loader)
    assert "No such file" in (tmp_path / "list.txt").read_text()


@pytest.mark.filterwarnings("ignore:Skipped a broken image")
def test_counts_are_shared_by_processes_and_kept_apart_by_folder(tmp_path):
    file = tmp_path / "list.txt"
    first, second = (BrokenFiles(file, str(tmp_path / "a"), 300, 0.01) for _ in range(2))
    other = BrokenFiles(file, str(tmp_path / "ab"), 300, 0.01)
    for i, register in enumerate([first, second, first]):
        register.add(str(tmp_path / "a" / f"{i}.png"), OSError("two\nlines\tand a tab"))
        register.add(str(tmp_path / "a" / f"{i}.png"), OSError("again"))
        other.add(str(tmp_path / "ab" / f"{i}.png"), OSError("elsewhere"))
    second.add(str(tmp_path / "a" / "0.png"), OSError("known to the first"))
    assert len(file.read_text().splitlines()) == 6
    assert len(first.listed()) == len(second.listed()) == len(other.listed()) == 3
    with pytest.raises(TooManyBroken, match="4 of the 300"):
        second.add(str(tmp_path / "a" / "3.png"), OSError("one too many"))


def test_the_list_is_beside_the_log(tmp_path):
    data = module(imagenet(tmp_path / "images"))
    assert str(data.train_set().broken.file) == "broken_files.txt"
    data.trainer = Trainer(accelerator="cpu", logger=CSVLogger(tmp_path, version=7), enable_checkpointing=False)
    data.setup("fit")
    assert data.train_set().broken.file == tmp_path / "lightning_logs" / "version_7" / "broken_files.txt"


def remove(*folders):
    def spoil_it(root):
        for folder in folders:
            shutil.rmtree(root / folder)

    return spoil_it


def add(folder):
    return lambda root: (root / folder).mkdir()


def flatten(root):
    for name in ("ant", "bee", "cat"):
        (root / "val" / name / "0.png").rename(root / "val" / f"{name}.png")
        shutil.rmtree(root / "val" / name)


LAYOUTS = {
    "no folder": (remove("."), {}, "There is no folder .*; root .* must be a folder of images"),
    "empty": (remove("train", "val"), {}, "There are no images under"),
    "no train": (remove("train"), {}, "has a folder val, but no folder train beside it"),
    "no val": (
        remove("val"),
        {"held_out_share": 0.0},
        r"There is no folder .*val, and held_out_share=0\.0 of the 12 images .* leaves one side empty; give val_root",
    ),
    "val_root": (remove(), {"val_root": "/nowhere"}, "There is no folder /nowhere"),
    "a class": (add("val/dog"), {}, "folder 'dog' that is none of the 3 classes"),
    "hollow": (add("train/dog"), {}, "class folder .*dog has no images; fill or remove"),
    "flat val": (flatten, {}, r"no images in class folders \('ant', …\) under"),
}


@pytest.mark.parametrize(("spoil_it", "options", "message"), LAYOUTS.values(), ids=LAYOUTS)
def test_wrong_layouts(tmp_path, spoil_it, options, message):
    root = imagenet(tmp_path / "images")
    spoil_it(root)
    with pytest.raises(InputError, match=message):
        module(root, **options).setup("fit")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"held_out_share": 1.0}, r"held_out_share is 1\.0; it must be a share"),
        ({"max_broken": -0.1}, r"max_broken is -0\.1"),
        ({"background": (0, 0, 256)}, "background is"),
    ],
)
def test_wrong_options(tmp_path, options, message):
    with pytest.raises(InputError, match=message):
        module(tmp_path, **options)
