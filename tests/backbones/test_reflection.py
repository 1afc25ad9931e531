"""Padding by reflection: torch's numbers and gradients, and the order in memory that it is given."""

import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from lightning_binding.backbones.reflection import Reflection, pad_by_reflection

SIDE = st.integers(0, 3)


@given(sides=st.tuples(SIDE, SIDE, SIDE, SIDE), height=st.integers(4, 7), width=st.integers(4, 7), last=st.booleans())
def test_numbers_and_gradients_are_those_of_torch(
    sides: tuple[int, int, int, int], height: int, width: int, last: bool
) -> None:
    layout = torch.channels_last if last else torch.contiguous_format
    x = torch.randn(2, 3, height, width, dtype=torch.float64).to(memory_format=layout).requires_grad_()
    expected, found = F.pad(x, sides, "reflect"), Reflection.apply(x, *sides)
    assert torch.equal(found, expected)
    grad = torch.randn_like(expected)
    one, two = (torch.autograd.grad(each, x, grad)[0] for each in (expected, found))
    torch.testing.assert_close(two, one, rtol=1e-12, atol=1e-12)
    if last:
        assert found.is_contiguous(memory_format=torch.channels_last)
        assert two.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_a_convolution_is_the_one_it_was(layout: torch.memory_format) -> None:
    plain = nn.Conv2d(3, 4, 3, stride=2, padding=1, padding_mode="reflect")
    ours = copy.deepcopy(plain)
    pad_by_reflection(ours)
    x = torch.randn(2, 3, 9, 8).to(memory_format=layout)
    assert torch.equal(ours(x), plain(x))
    assert list(ours.state_dict()) == list(plain.state_dict())
    assert torch.equal(copy.deepcopy(ours)(x), plain(x))


def test_a_picture_that_is_too_small_is_torchs_error() -> None:
    convolution = nn.Conv2d(3, 4, 7, padding=3)
    pad_by_reflection(convolution)
    with pytest.raises(RuntimeError, match=r"[Pp]adding"):
        convolution(torch.randn(1, 3, 3, 3))


def test_a_convolution_with_a_pass_of_its_own_keeps_it() -> None:
    class Own(nn.Conv2d):
        pass

    convolution = Own(3, 4, 3, padding=1)
    pad_by_reflection(convolution)
    assert type(convolution) is Own
    assert convolution.padding_mode == "reflect"
