"""Masks as pictures: the palette, the way there and back, and what is refused."""

import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from lightning_binding.errors import InputError
from lightning_binding.masks import overlay, palette, read_mask, write_mask


def test_palette_is_that_of_pascal_voc() -> None:
    colours = palette().tolist()
    assert colours[:6] == [[0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0], [0, 0, 128], [128, 0, 128]]
    assert colours[8] == [64, 0, 0]
    assert colours[255] == [224, 224, 192]
    assert len({tuple(colour) for colour in colours}) == 256


@given(arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9))))
@settings(max_examples=20, deadline=None)
def test_there_and_back(ids: np.ndarray) -> None:
    mask = torch.from_numpy(ids)
    with tempfile.TemporaryDirectory() as folder:
        path = write_mask(Path(folder) / "mask.png", mask)
        assert Image.open(path).mode == "P"
        assert torch.equal(read_mask(path), mask)
        Image.open(path).convert("RGB").save(path)  # as a program that does not know indices saves it
        assert torch.equal(read_mask(path), mask)


def test_grey_values_are_ids(tmp_path: Path) -> None:
    ids = np.array([[0, 1], [2, 255]], np.uint8)
    Image.fromarray(ids).save(tmp_path / "grey.png")
    assert read_mask(tmp_path / "grey.png").tolist() == ids.tolist()
    Image.fromarray(ids > 0).save(tmp_path / "bits.png")
    assert read_mask(tmp_path / "bits.png").tolist() == [[0, 1], [1, 1]]


def test_what_is_no_mask_is_refused(tmp_path: Path) -> None:
    Image.fromarray(np.full((2, 2, 3), 77, np.uint8)).save(tmp_path / "photo.png")
    with pytest.raises(InputError, match=r"with the colour \(77, 77, 77\), which is not in the palette"):
        read_mask(tmp_path / "photo.png")
    with pytest.raises(InputError, match="there is no mask"):
        read_mask(tmp_path / "missing.png")
    (tmp_path / "empty.png").write_bytes(b"")
    with pytest.raises(InputError, match="cannot be read as a picture"):
        read_mask(tmp_path / "empty.png")
    with pytest.raises(InputError, match=r"a mask is uint8 \(H, W\)"):
        write_mask(tmp_path / "new" / "mask.png", torch.zeros(2, 2))


def test_overlay_tints_objects_and_draws_their_edge() -> None:
    frame = torch.full((3, 4, 4), 100, dtype=torch.uint8)
    mask = torch.zeros(4, 4, dtype=torch.uint8)
    mask[1:, 1:] = 1
    found = overlay(frame, mask, opacity=0.25)
    assert found[:, 0, 0].tolist() == [100, 100, 100]
    assert found[:, 2, 2].tolist() == [107, 75, 75]
    mask[3, 3] = 2
    assert overlay(frame, mask)[:, 2, 3].tolist() == [128, 0, 0]
