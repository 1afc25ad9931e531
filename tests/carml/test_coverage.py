"""Coverage: counts, and entropies that are known."""

import math

import pytest
import torch

from lightning_binding.carml.coverage import coverage_entropy, occupancy

SQUARE = ((-1.0, 1.0), (-1.0, 1.0))


def test_cells_are_counted() -> None:
    places = torch.tensor([[-1.0, -1.0], [-0.9, -0.6], [0.1, 0.9], [1.0, 1.0], [3.0, -3.0]])
    counts = occupancy(places, SQUARE, 2)
    assert counts.tolist() == [[2, 0], [1, 2]]  # x first; what is outside counts at the edge
    assert occupancy(places.view(1, 5, 2), SQUARE, 7).sum() == 5


def test_the_entropy_of_a_uniform_grid_is_its_logarithm() -> None:
    axis = (torch.arange(10) + 0.5) / 5 - 1
    places = torch.cartesian_prod(axis, axis)
    assert coverage_entropy(places, SQUARE, 10) == pytest.approx(2 * math.log(10))
    assert coverage_entropy(torch.zeros(50, 2), SQUARE, 10) == 0
    half = torch.cat([torch.zeros(50, 2), torch.full((50, 2), 0.7)])
    assert coverage_entropy(half, SQUARE, 10) == pytest.approx(math.log(2))


def test_without_an_extent_the_places_give_it() -> None:
    places = 100 + 7 * torch.rand(500, 2)
    low, high = places.amin(0), places.amax(0)
    extent = tuple(zip(low.tolist(), high.tolist(), strict=True))
    assert torch.equal(occupancy(places, None, 5), occupancy(places, extent, 5))
    assert bool((occupancy(places, None, 2) > 0).all())
