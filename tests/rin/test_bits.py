"""Analog bits: exact round trips, the original's codes by a second implementation, codes without a value."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lightning_binding import InputError
from lightning_binding.rin.bits import AnalogBits, BinaryBits, GrayBits, OneHot, PermutedBits, bits_of

FORMS: list[Callable[..., AnalogBits]] = [BinaryBits, PermutedBits, GrayBits, OneHot]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("scale", [0.1, 0.5, 1.0])
def test_every_byte_comes_back(form: Callable[..., AnalogBits], scale: float) -> None:
    bits = form(scale=scale)
    values = torch.arange(256)
    encoded = bits.encode(values)
    assert encoded.shape == (256, bits.width)
    assert encoded.unique().tolist() == pytest.approx([-scale, scale])
    assert len(encoded.unique(dim=0)) == 256
    assert torch.equal(bits.decode(encoded), values)


@given(classes=st.integers(2, 70), form=st.sampled_from(FORMS), seed=st.integers(0, 99))
def test_any_number_of_classes_comes_back_through_less_noise_than_half_a_bit(
    classes: int, form: Callable[..., AnalogBits], seed: int
) -> None:
    bits = form(classes=classes)
    assert bits.width == (classes if form is OneHot else bits_of(classes))
    values = torch.arange(classes).view(1, -1)
    noise = 1.98 * torch.rand(1, classes, bits.width, generator=torch.Generator().manual_seed(seed)) - 0.99
    assert torch.equal(bits.decode(bits.encode(values) + noise), values)
    anything = 3 * torch.randn(50, bits.width, generator=torch.Generator().manual_seed(seed))
    decoded = bits.decode(anything)
    assert int(decoded.min()) >= 0
    assert int(decoded.max()) < classes
    nearest = torch.cdist(anything, bits.encode(torch.arange(classes)), compute_mode="donot_use_mm_for_euclid_dist")
    assert torch.equal(decoded, nearest.argmin(dim=1))


def original_gray(n: int) -> list[int]:
    """Gray's code by reflection, as the original code builds it."""
    if n == 1:
        return [0, 1]
    shorter = original_gray(n - 1)
    return shorter + [1 << (n - 1) | code for code in reversed(shorter)]


def original_bits(codes: np.ndarray) -> np.ndarray:
    """The original's int2bits: least bit first."""
    return np.mod(np.right_shift(codes[:, None], np.arange(8)), 2)


def test_codes_are_the_original_s() -> None:
    order = np.arange(256)
    np.random.RandomState(42).shuffle(order)  # the original's generator
    for form, codes in (
        (BinaryBits(), np.arange(256)),
        (PermutedBits(), order),
        (GrayBits(), np.array(original_gray(8))),
    ):
        assert np.array_equal(form.codes.numpy(), original_bits(codes))
    assert np.array_equal(OneHot().codes.numpy(), np.eye(256))


def test_neighbours_differ_in_one_bit_of_gray_s_code() -> None:
    bits = GrayBits(100).codes
    assert (bits[1:] != bits[:-1]).sum(dim=1).tolist() == [1] * 99


def test_a_bit_of_size_zero_reads_as_the_original_reads_it() -> None:
    assert int(BinaryBits().decode(torch.zeros(8))) == 0
    assert int(PermutedBits().decode(torch.zeros(8))) == 121  # the byte whose place is 0


def test_codes_of_no_value_give_the_nearest_value() -> None:
    bits = BinaryBits(classes=5)  # 0 to 4 in three bits, least first; 5, 6, 7 are of none
    high = torch.tensor([1.0, -0.2, 1.0])  # 5 is 101: the weakest bit that leads to a value is the least or the third
    assert int(bits.decode(high)) in (1, 4)
    assert int(bits.decode(torch.tensor([0.3, -1.0, 1.0]))) == 4
    assert int(bits.decode(torch.tensor([1.0, -1.0, 0.3]))) == 1
    assert int(bits.decode(torch.tensor([0.5, 1.0, 0.6]))) == 3  # 7: the third bit costs 0.6, the two others 1.5


@pytest.mark.parametrize("form", FORMS)
def test_pictures_keep_the_original_s_order_of_channels(form: Callable[..., AnalogBits]) -> None:
    bits = form(scale=0.5)
    images = torch.randint(256, (2, 3, 4, 5), dtype=torch.uint8)
    encoded = bits.encode_images(images)
    assert encoded.shape == (2, 3 * bits.width, 4, 5)
    green = encoded[:, bits.width : 2 * bits.width, 1, 2]
    assert torch.equal(green, bits.encode(images[:, 1, 1, 2]))
    assert torch.equal(bits.decode_images(encoded), images)
    clip = torch.randint(256, (2, 3, 3, 4, 4), dtype=torch.uint8)
    assert torch.equal(bits.decode_images(bits.encode_images(clip)), clip)


def test_what_has_no_code() -> None:
    with pytest.raises(InputError, match=r"values lie in \[3, 9\], expected \[0, 9\)"):
        BinaryBits(9).encode(torch.tensor([3, 9]))
    with pytest.raises(InputError, match="classes=1 must be 2 or more"):
        GrayBits(1)
    with pytest.raises(InputError, match="scale=0 of a bit"):
        OneHot(4, scale=0)
    assert repr(GrayBits(9, 0.5)) == "GrayBits(classes=9, scale=0.5)"
