"""Files of every mode become the same RGB; crops and resizes against Pillow and arithmetic."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from lightning_binding.data.decode import Decoder, to_rgb


def smooth(width, height):
    """A photograph-like image without edges, `(height, width, 3)`."""
    y, x = np.mgrid[:height, :width] / 40
    return np.stack([np.sin(x), np.cos(y), np.sin(x + y)], -1) * 100 + 128


def save(path, array, mode=None, **options):
    Image.fromarray(np.asarray(array, np.uint8), mode).save(path, **options)
    return path


@settings(max_examples=25, deadline=None)
@given(width=st.integers(1, 60), height=st.integers(1, 60), size=st.integers(1, 20))
def test_the_largest_centre_square_then_bicubic(tmp_path_factory, width, height, size):
    pixels = np.random.default_rng(width * 61 + height).integers(0, 256, (height, width, 3), np.uint8)
    path = save(tmp_path_factory.mktemp("decode") / "a.png", pixels)
    side = min(width, height)
    top, left = (height - side) // 2, (width - side) // 2
    square = Image.fromarray(pixels[top : top + side, left : left + side])
    expected = np.asarray(square.resize((size, size), Image.Resampling.BICUBIC))
    np.testing.assert_array_equal(Decoder(size)(path), expected.transpose(2, 0, 1))


def test_downscaling_is_antialiased(tmp_path):
    stripes = np.zeros((64, 64, 3))
    stripes[:, ::2] = 255
    path = save(tmp_path / "a.png", stripes)
    assert np.abs(Decoder(16)(path).astype(float) - 127.5).max() < 16  # a bicubic of four taps gives 0 or 255


def test_draft_is_close_to_decoding_in_full(tmp_path):
    path = save(tmp_path / "a.jpg", smooth(800, 600), quality=95)
    full, draft = (Decoder(32, draft=draft)(path).astype(float) for draft in (False, True))
    assert 0 < np.abs(full - draft).mean() < 1.5


def test_turning_upright_is_an_option(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise to see it upright
    pixels = smooth(40, 40)
    path = save(tmp_path / "a.png", pixels, exif=exif)
    upright = np.rot90(np.asarray(pixels, np.uint8), -1)
    np.testing.assert_array_equal(Decoder(40)(path), np.asarray(pixels, np.uint8).transpose(2, 0, 1))
    np.testing.assert_array_equal(Decoder(40, exif_orientation=True)(path), upright.transpose(2, 0, 1))


def one(image, background=(10, 20, 30)):
    return to_rgb(image, background).getpixel((0, 0))


def test_grey_and_bilevel():
    assert one(Image.new("L", (2, 2), 77)) == (77, 77, 77)
    assert one(Image.new("1", (2, 2), 1)) == (255, 255, 255)


@given(st.integers(0, 65535))
def test_sixteen_bits_are_scaled_not_clipped(value):
    image = Image.fromarray(np.full((2, 2), value, np.uint16))
    assert one(image) == (round(value / 257),) * 3


def test_sixteen_bits_from_a_file(tmp_path):
    Image.fromarray(np.array([[0, 257 * 99], [257 * 255, 0]], np.uint16)).save(tmp_path / "a.png")
    assert Decoder(2)(tmp_path / "a.png")[1].tolist() == [[0, 99], [255, 0]]


@given(st.integers(0, 255), st.integers(0, 255))
def test_alpha_mixes_with_the_background(value, alpha):
    for image in (Image.new("LA", (2, 2), (value, alpha)), Image.new("RGBA", (2, 2), (value, value, value, alpha))):
        for got, behind in zip(one(image), (10, 20, 30), strict=True):
            assert abs(got - (value * alpha + behind * (255 - alpha)) / 255) <= 1


def test_palettes_with_and_without_a_transparent_colour(tmp_path):
    image = Image.new("P", (2, 2), 1)
    image.putpalette([0, 0, 0, 200, 100, 50])
    assert one(image) == (200, 100, 50)
    image.save(tmp_path / "a.png", transparency=1)
    assert Decoder(2, (1, 2, 3))(tmp_path / "a.png")[:, 0, 0].tolist() == [1, 2, 3]


def test_a_transparent_colour_of_an_rgb_file(tmp_path):
    image = Image.new("RGB", (2, 2), (5, 6, 7))
    image.save(tmp_path / "a.png", transparency=(5, 6, 7))
    assert Decoder(2, (1, 2, 3))(tmp_path / "a.png")[:, 0, 0].tolist() == [1, 2, 3]


def test_cmyk(tmp_path):
    Image.new("CMYK", (16, 16), (0, 255, 255, 0)).save(tmp_path / "a.jpg", quality=100)
    red, green, blue = Decoder(8)(tmp_path / "a.jpg")[:, 4, 4].astype(int)
    assert red > 240
    assert max(green, blue) < 15


@pytest.mark.parametrize("share", [0.3, 0.9])
@pytest.mark.parametrize("ending", ["png", "jpg"])
def test_a_truncated_file_raises(tmp_path, ending, share):
    path = save(tmp_path / f"a.{ending}", np.random.default_rng(0).integers(0, 256, (64, 64, 3)))
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises((OSError, SyntaxError)):
        Decoder(16)(path)
