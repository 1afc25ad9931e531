"""Boundaries, disks and F: the official values, brute force, and each object by itself."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from mask_scores import slow_boundary, slow_counts, square

from lightning_binding import InputError
from lightning_binding.metrics.boundary import boundary_counts, boundary_map, dilate, disk_radius, f_measure

sides = st.tuples(st.integers(1, 12), st.integers(1, 12))


@pytest.mark.parametrize(
    ("mask", "pixels"),
    [
        (square(100, 200, 300), 400),
        (square(1, 200, 300), 4),
        (np.ones((480, 854), np.uint8), 0),
        (np.zeros((480, 854), np.uint8), 0),
        (square(10, 0, 0), 19),
        (square(10, 470, 844), 21),
    ],
)
def test_official_numbers_of_boundary_pixels(mask: np.ndarray, pixels: int) -> None:
    assert int(boundary_map(torch.from_numpy(mask)).sum()) == pixels
    assert int(boundary_map(torch.from_numpy(mask).bool()).sum()) == pixels


@settings(max_examples=40)
@given(sides.flatmap(lambda shape: arrays(np.uint8, shape)))
def test_every_bit_is_a_mask_of_its_own(planes: np.ndarray) -> None:
    found = boundary_map(torch.from_numpy(planes)).numpy()
    for bit in range(8):
        assert np.array_equal(found >> bit & 1, slow_boundary(planes >> bit & 1))


@pytest.mark.parametrize(
    ("height", "width", "radius"),
    [(480, 854, 8), (480, 910, 9), (240, 427, 4), (1080, 1920, 18), (60, 60, 1), (300, 400, 4)],
)
def test_official_radii(height: int, width: int, radius: int) -> None:
    assert disk_radius(height, width) == radius
    assert radius == int(np.ceil(0.008 * np.linalg.norm((height, width))))


def test_a_tolerance_from_1_on_is_in_pixels() -> None:
    assert disk_radius(480, 854, 1) == 1
    assert disk_radius(480, 854, 20.0) == 20
    for wrong in (0, -0.1, 1.5):
        with pytest.raises(InputError, match=f"tolerance={wrong} must be"):
            disk_radius(480, 854, wrong)


@pytest.mark.parametrize("radius", range(20))
def test_a_pixel_becomes_a_disk(radius: int) -> None:
    planes = torch.zeros(50, 60, dtype=torch.uint8)
    planes[24, 27] = 0b10010001
    y, x = torch.arange(50)[:, None] - 24, torch.arange(60) - 27
    assert torch.equal(dilate(planes, radius), (y**2 + x**2 <= radius**2).byte() * 0b10010001)


def test_the_disk_at_480p_has_197_pixels() -> None:
    planes = torch.zeros(20, 20, dtype=torch.uint8)
    planes[9, 9] = 1
    assert int(dilate(planes, 8).sum()) == 197


@settings(max_examples=40)
@given(sides.flatmap(lambda shape: arrays(np.uint8, shape, elements=st.sampled_from([0, 0, 0, 1, 6, 255]))), st.data())
def test_dilation_is_the_union_of_disks(planes: np.ndarray, data: st.DataObject) -> None:
    radius = data.draw(st.integers(0, 15))
    expected = np.zeros_like(planes)
    grid = np.stack(np.indices(planes.shape), -1)
    for place in np.argwhere(planes):
        expected[np.square(grid - place).sum(-1) <= radius**2] |= planes[tuple(place)]
    assert np.array_equal(dilate(torch.from_numpy(planes), radius).numpy(), expected)


@st.composite
def pairs(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, int]:
    """Two masks of ids, with void and ids that are no object, and the number of objects; some wide and full."""
    shape, objects = draw(sides), draw(st.integers(1, 13))
    ids = st.sampled_from([0, 0, *range(1, objects + 1), objects + 1, 255])
    fill = draw(ids)
    masks = [draw(arrays(np.uint8, shape, elements=ids, fill=st.just(fill))) for _ in range(2)]
    return masks[0], masks[1], objects


@settings(max_examples=60)
@given(pairs(), st.integers(0, 5))
def test_counts_are_those_of_all_pairs_of_pixels(masks: tuple[np.ndarray, np.ndarray, int], radius: int) -> None:
    prediction, target, objects = masks
    found = boundary_counts(torch.from_numpy(prediction), torch.from_numpy(target), objects, radius)
    expected = [slow_counts(prediction == index, target == index, radius) for index in range(1, objects + 1)]
    assert found.T.tolist() == expected


def test_all_254_ids_can_be_objects() -> None:
    ids = torch.arange(256, dtype=torch.uint8).repeat_interleave(3).repeat(3, 1)  # one 3 x 3 square beside the other
    counts = boundary_counts(ids, ids, 254, 0)
    assert counts.tolist() == [[6] * 254] * 4  # columns to its left and within


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ((0, 0, 0, 0), 1),
        ((5, 0, 0, 0), 0),
        ((0, 5, 0, 0), 0),
        ((5, 5, 0, 0), 0),
        ((5, 7, 5, 7), 1),
        ((10, 20, 5, 5), 2 * 0.5 * 0.25 / 0.75),
    ],
)
def test_f_case_by_case(counts: tuple[int, ...], expected: float) -> None:
    assert float(f_measure(torch.tensor(counts))) == expected
