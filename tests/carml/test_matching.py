"""The assignment of components against scipy's, and what it is for."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from lightning_binding import InputError
from lightning_binding.carml.matching import best_assignment, match_components


@given(st.integers(1, 12), st.integers(0, 10**6), st.booleans())
def test_as_good_as_scipy(size: int, seed: int, whole: bool) -> None:
    gain = torch.randn(size, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    gain = gain.mul(3).round() if whole else gain  # with ties
    rows, columns = linear_sum_assignment(gain.numpy(), maximize=True)
    ours = best_assignment(gain)
    assert sorted(ours.tolist()) == list(range(size))
    assert float(gain[torch.arange(size), ours].sum()) == pytest.approx(float(gain[rows, columns].sum()), abs=1e-9)


@given(st.integers(1, 8), st.integers(0, 10**6))
def test_components_find_their_place_again(size: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    old = torch.eye(size)[torch.arange(5 * size) % size]
    order = torch.randperm(size, generator=generator)
    new = 0.9 * old[:, order] + 0.1 / size
    found = match_components(new, old)
    assert torch.equal(new[:, found].argmax(-1), old.argmax(-1))


def test_a_matrix_is_square() -> None:
    with pytest.raises(InputError, match=r"expected \(K, K\)"):
        best_assignment(torch.zeros(2, 3))
