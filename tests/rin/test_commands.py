"""`sample` and `export` as a user types them."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lightning_binding import InputError
from lightning_binding.cli import main
from lightning_binding.export import save
from lightning_binding.rin.commands import sample
from lightning_binding.rin.module import RINDiffusion


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


def test_pictures_without_a_checkpoint(tmp_path: Path) -> None:
    grid = main(["sample", "--num", "4", "--steps", "3", "--out", str(tmp_path / "a")])
    assert grid == tmp_path / "a" / "grid.png"
    assert pixels(grid).shape == (4 * (2 * 34 + 2), 4 * (2 * 34 + 2), 3)
    single = [pixels(tmp_path / "a" / f"image-0000{index}.png") for index in range(4)]
    assert np.array_equal(pixels(grid)[8 : 8 + 128 : 4, 8 : 8 + 128 : 4], single[0])
    assert all(picture.std() > 5 for picture in single)  # something is drawn

    main(["sample", "--num", "4", "--steps", "3", "--out", str(tmp_path / "b")])
    main(["sample", "--num", "4", "--steps", "3", "--out", str(tmp_path / "c"), "--seed", "1"])
    assert np.array_equal(pixels(grid), pixels(tmp_path / "b" / "grid.png"))
    assert not np.array_equal(pixels(grid), pixels(tmp_path / "c" / "grid.png"))


def test_a_run_is_exported_and_sampled_from_both_files(tmp_path: Path, told: list[str]) -> None:
    options = ["--model=RINDiffusion", "--model.network=rin_tiny", "--data=EmojiDataModule", "--data.image_size=8"]
    options += ['--model.network_options={"num_classes": 9}', "--trainer.max_steps=2", "--trainer.accelerator=cpu"]
    options += ["--trainer.callbacks+=EMA", "--trainer.limit_val_batches=0", f"--trainer.default_root_dir={tmp_path}"]
    cli = main(["fit", *options])
    path = tmp_path / "run.ckpt"
    cli.trainer.save_checkpoint(path)
    exported = main(["export", "--ckpt_path", str(path), "--out", str(tmp_path / "run.safetensors")])
    grids = [
        main(["sample", "--ckpt_path", str(file), "--num", "3", "--steps", "2", "--out", str(tmp_path / file.stem)])
        for file in (path, exported)
    ]
    assert np.array_equal(pixels(grids[0]), pixels(grids[1]))
    assert [line for line in told if line.startswith("3 pictures, 2 steps of ddim, averaged (EMA) weights: ")]
    assert [line for line in told if line.startswith("3 pictures, 2 steps of ddim, exported weights: ")]


def test_labels_samplers_and_guidance_are_used(tmp_path: Path) -> None:
    common = {"num": 2, "steps": 2, "device": "cpu"}
    drawn = {
        "plain": sample(**common, out=str(tmp_path / "plain")),  # type: ignore[arg-type]
        "label": sample(**common, out=str(tmp_path / "label"), label=[5]),  # type: ignore[arg-type]
        "heun": sample(**common, out=str(tmp_path / "heun"), sampler="heun"),  # type: ignore[arg-type]
        "guided": sample(**common, out=str(tmp_path / "guided"), guidance=4.0),  # type: ignore[arg-type]
    }
    contents = [pixels(path).tobytes() for path in drawn.values()]
    assert len(set(contents)) == 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num": 0}, "at least one picture"),
        ({"sampler": "dddim"}, "unknown sampler 'dddim'; did you mean ddim"),
        ({"label": [9]}, "9 classes"),
        ({"steps": 0}, "steps=0 must be a whole number of at least 1"),
        ({"guidance": float("inf")}, "scale=inf of guidance"),
        ({"batch_size": 0}, "--batch_size 0"),
        ({"scale": 0}, "--scale 0"),
        ({"device": "gpuu"}, "--device gpuu cannot be used"),
        ({"ckpt_path": "nothing.ckpt"}, "no file nothing.ckpt"),
    ],
)
def test_what_cannot_be_sampled(tmp_path: Path, options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        sample(out=str(tmp_path), **options)  # type: ignore[arg-type]
    assert not torch.is_grad_enabled() or not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_made_and_a_label_of_no_class(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"--out .*file/pictures: the folder cannot be made"):
        sample(num=1, steps=1, out=str(tmp_path / "file" / "pictures"))
    save(RINDiffusion("rin_tiny", network_options={"num_classes": 0}), tmp_path / "plain.safetensors")
    with pytest.raises(InputError, match=r"--label \[1\]: the model is unconditional"):
        sample(str(tmp_path / "plain.safetensors"), label=[1])
