"""At which size frames are encoded: what each method's code computes, and how it resizes."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from lightning_binding.crw.settings import PRESETS, PropagationSettings
from lightning_binding.crw.sizes import frame_size, resize

PORTRAIT = [("dino", 16, (832, 480)), ("dinov3", 16, (1712, 960)), ("cropmae_vip", 16, (880, 448))]


@pytest.mark.parametrize(
    ("preset", "multiple", "expected"),
    [
        ("crw", 1, (480, 854)),
        ("crw", 16, (480, 848)),
        ("crw_vip", 1, (560, 560)),
        ("crw_jhmdb", 1, (320, 320)),
        ("dino", 16, (480, 832)),
        ("dino", 8, (480, 832)),
        ("dinov3", 16, (960, 1712)),
        ("vfs", 1, (480, 854)),
        ("dense_ulearn", 1, (480, 854)),
        ("rsp", 16, (480, 832)),
        ("cropmae", 16, (480, 880)),
        ("cropmae_jhmdb", 16, (320, 320)),
        ("cropmae_vip", 16, (448, 880)),
        ("sfc", 1, (480, 854)),
    ],
)
def test_frames_of_davis_are_sized_as_each_method_did(preset: str, multiple: int, expected: tuple[int, int]) -> None:
    assert frame_size(480, 854, PRESETS[preset], multiple) == expected


@pytest.mark.parametrize(("preset", "multiple", "expected"), PORTRAIT)
def test_upright_frames_are_sized_likewise(preset: str, multiple: int, expected: tuple[int, int]) -> None:
    assert frame_size(854, 480, PRESETS[preset], multiple) == expected


@given(st.integers(200, 1500), st.integers(200, 1500))
def test_sizes_are_those_of_the_three_scripts(height: int, width: int) -> None:
    def dino() -> tuple[int, int]:  # the longer side is brought down to a multiple of 64
        if height > width:
            return int(480 * height / width // 64 * 64), 480
        return 480, int(480 * width / height // 64 * 64)

    def dinov3() -> tuple[int, int]:  # both sides are brought up to whole patches
        if width > height:
            return 960, math.ceil(width * 960 / height / 16) * 16
        return math.ceil(height * 960 / width / 16) * 16, 960

    def cropmae_vip() -> tuple[int, int]:  # the longer side is given
        if width > height:
            return max(int(height * 880 / width) // 64, 1) * 64, 880
        return 880, max(int(width * 880 / height) // 64, 1) * 64

    for name, expected in (("dino", dino()), ("dinov3", dinov3()), ("cropmae_vip", cropmae_vip())):
        assert frame_size(height, width, PRESETS[name], 16) == expected, name


@given(st.integers(1, 900), st.integers(1, 900), st.sampled_from([1, 8, 14, 16]), st.booleans())
def test_sides_are_whole_patches(height: int, width: int, multiple: int, up: bool) -> None:
    for options in ({}, {"short_side": 100}, {"long_side": 300, "other_side_multiple": 64}, {"size": (90, 40)}):
        found = frame_size(height, width, PropagationSettings(round_up=up, **options), multiple)  # type: ignore[arg-type]
        assert all(side > 0 and side % multiple == 0 for side in found)


def test_frames_are_resized_with_and_without_antialiasing() -> None:
    line = (torch.arange(16) % 2 * 255).to(torch.uint8).expand(1, 3, 16, 16)  # as fine as can be
    assert torch.equal(resize(line, (16, 16)), line)
    smooth, sharp = resize(line, (16, 4)), resize(line, (16, 4), "bilinear")
    assert (smooth.int() - 127).abs().max() < 40
    assert torch.equal(sharp, torch.full_like(sharp, 128))  # the mean of the two in the middle, of four
    ramp = torch.arange(0, 160, 10, dtype=torch.uint8).expand(1, 3, 16, 16)
    doubled = resize(ramp, (16, 32), "bilinear")[0, 0, 0]
    places = (torch.arange(32) + 0.5) / 2 - 0.5  # of OpenCV
    expected = 10 * places.clamp(0, 15)
    assert (doubled - expected).abs().max() <= 0.5


def test_a_constant_frame_stays_constant() -> None:
    def still(value: int, *size: int) -> Tensor:
        return torch.full((1, 3, *size), value, dtype=torch.uint8)

    for resampling in ("bicubic", "bilinear"):
        assert torch.equal(resize(still(77, 9, 31), (14, 20), resampling), still(77, 14, 20))
