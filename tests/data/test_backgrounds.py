"""Backgrounds: noise of many scales, and pieces of pictures."""

import itertools

import numpy as np
import pytest
import torch
from PIL import Image

from lightning_binding import InputError
from lightning_binding.data.backgrounds import Pictures, create_background, plain, texture


def test_plain_is_one_colour():
    picture = plain(np.random.default_rng(0), 5, 7)
    assert picture.shape == (3, 5, 7)
    assert (picture == picture[:, :1, :1]).all()


def test_texture_has_detail_at_every_scale():
    """Averaged over boxes twice as large, it keeps varying: white noise would fall to a half each time."""
    falls = []
    for seed in range(12):
        picture = texture(np.random.default_rng(seed), 128, 128)
        assert picture.min() >= 0
        assert picture.max() <= 255
        spread = [torch.nn.functional.avg_pool2d(picture, 2**k).std(dim=(1, 2)).mean() for k in range(5)]
        falls.append([(b / a).item() for a, b in itertools.pairwise(spread)])
        fine = (picture[:, 1:] - picture[:, :-1]).abs().mean()
        assert fine > 0.5
    assert np.min(falls) > 0.5
    assert np.mean(falls) < 0.99


def test_textures_differ_and_repeat():
    first, again, other = (texture(np.random.default_rng(seed), 20, 33) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert (first - other).abs().mean() > 5


@pytest.mark.parametrize("shape", [(1, 1), (2, 3), (3, 40)])
def test_textures_of_any_size(shape):
    picture = texture(np.random.default_rng(0), *shape)
    assert picture.shape == (3, *shape)
    assert picture.isfinite().all()


def test_pieces_of_pictures_keep_their_proportions(tmp_path):
    """In a picture whose red is x and whose green is y, a piece has equal slopes, and at least 0.6 of the extent."""
    y, x = np.mgrid[:120, :200]
    Image.fromarray(np.stack([x, y, x * 0], 2).astype(np.uint8)).save(tmp_path / "ramp.png")
    background = Pictures(str(tmp_path))
    corners = set()
    for seed in range(10):
        piece = background(np.random.default_rng(seed), 30, 40)
        assert piece.shape == (3, 30, 40)
        across = (piece[0, :, -3] - piece[0, :, 2]).mean() / 35
        down = (piece[1, -3] - piece[1, 2]).mean() / 25
        assert abs(across - down) < 0.05
        assert 0.6 * 4 - 0.05 < across < 4.05
        corners.add(tuple(piece[:2, 0, 0].tolist()))
    assert len(corners) > 5


def test_a_broken_picture_gives_way_to_the_next(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"no picture")
    with (
        pytest.warns(UserWarning, match="Skipped a broken picture"),
        pytest.raises(InputError, match="none of the 1 pictures"),
    ):
        Pictures(str(tmp_path))(np.random.default_rng(0), 8, 8)
    Image.new("RGB", (9, 9), (1, 2, 3)).save(tmp_path / "b.png")
    background = Pictures(str(tmp_path))
    with pytest.warns(UserWarning, match=r"a\.jpg"):
        pieces = [background(np.random.default_rng(seed), 8, 8) for seed in range(8)]
    assert all(piece[:, 3, 3].tolist() == [1, 2, 3] for piece in pieces)


def test_names_and_folders():
    assert create_background("texture") is texture
    with pytest.raises(InputError, match="background is 'textur', which is neither plain, texture nor a folder"):
        create_background("textur")
