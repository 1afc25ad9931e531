"""Sequences written in the layout of DAVIS: what is written is what other code reads."""

import numpy as np
import pytest
import torch
from PIL import Image

from lightning_binding import InputError
from lightning_binding.data import DAVISDataModule, MovingSpritesDataModule
from lightning_binding.data.davis_layout import write_davis


@pytest.fixture
def sequences():
    return MovingSpritesDataModule(frame_size=(24, 40), eval_sequences=3, eval_frames=4).eval_set()


def test_frames_masks_and_lists_are_where_davis_has_them(sequences, tmp_path):
    root = write_davis(sequences, tmp_path / "new" / "DAVIS", split="train")
    found = sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())
    expected = ["ImageSets/2017/train.txt"]
    for sequence in sequences:
        for frame in sequence["frame_names"]:
            expected.append(f"JPEGImages/480p/{sequence['name']}/{frame}.jpg")
            expected.append(f"Annotations/480p/{sequence['name']}/{frame}.png")
    assert found == sorted(expected)
    for sequence in sequences:
        for frame, image, mask in zip(sequence["frame_names"], sequence["video"], sequence["mask"], strict=True):
            with Image.open(root / "Annotations/480p" / sequence["name"] / f"{frame}.png") as written:
                assert written.mode == "P"
                assert written.getpalette()[:9] == [0, 0, 0, 128, 0, 0, 0, 128, 0]
                np.testing.assert_array_equal(np.asarray(written), mask.numpy())
            with Image.open(root / "JPEGImages/480p" / sequence["name"] / f"{frame}.jpg") as written:
                difference = np.asarray(written).transpose(2, 0, 1).astype(float) - image.numpy()
            assert np.sqrt((difference**2).mean()) < 6


def test_our_reader_gives_back_what_was_written(sequences, tmp_path):
    write_davis(iter(sequences), tmp_path, split="mine", resolution="small", lossless=True)
    read = DAVISDataModule(str(tmp_path), split="mine", resolution="small").eval_set()
    assert len(read) == 3
    for ours, theirs in zip(sequences, read, strict=False):
        assert theirs["name"] == ours["name"]
        assert theirs["frame_names"] == ours["frame_names"]
        assert torch.equal(theirs["video"], ours["video"])
        assert torch.equal(theirs["mask"], ours["mask"])


def test_what_cannot_be_written_is_refused(sequences, tmp_path):
    with pytest.raises(InputError, match="two sequences are called sprites-0000"):
        write_davis([sequences[0], sequences[0]], tmp_path)
    bare = {key: value for key, value in sequences[0].items() if key != "mask"}
    with pytest.raises(InputError, match="sprites-0000 has no masks"):
        write_davis([bare], tmp_path)
    with pytest.raises(InputError, match="there are no sequences"):
        write_davis([], tmp_path)
