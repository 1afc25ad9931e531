"""The reservoir: exactly uniform, bounded, on disk where it is large, and taken up again after a stop."""

import itertools
import math
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from lightning_binding import InputError
from lightning_binding.carml.reservoir import Reservoir


def numbered(first: int, count: int) -> torch.Tensor:
    """Trajectories of two states that bear a number, (n, 2, 1)."""
    return torch.arange(first, first + count, dtype=torch.float32)[:, None, None].expand(-1, 2, 1)


def test_every_subset_has_the_same_chance() -> None:
    subsets = list(itertools.combinations(range(6), 3))
    counts = dict.fromkeys(subsets, 0)
    reservoir = Reservoir(3)
    for seed in range(6000):
        reservoir = Reservoir(3, seed=seed)
        for first, count in ((0, 2), (2, 3), (5, 1)):  # in additions of different sizes
            reservoir.add(numbered(first, count))
        counts[tuple(sorted(int(value) for value in reservoir.trajectories()[:, 0, 0]))] += 1
    assert sum(counts.values()) == 6000
    assert chisquare(list(counts.values())).pvalue > 0.001


@given(st.lists(st.integers(0, 9), max_size=8), st.integers(1, 12))
def test_it_is_bounded_and_holds_what_was_added(sizes: list[int], capacity: int) -> None:
    reservoir, seen = Reservoir(capacity), 0
    for size in sizes:
        reservoir.add(numbered(seen, size))
        seen += size
        assert reservoir.seen == seen
        assert len(reservoir) == min(seen, capacity)
    if seen:
        values = reservoir.trajectories()[:, 0, 0].tolist()
        assert len(set(values)) == len(values) == min(seen, capacity)
        assert set(values) <= set(range(seen))


def test_one_addition_is_many() -> None:
    """The draws of a trajectory do not depend on how additions are cut; those of rand in one call are in order."""
    chances = torch.zeros(40)
    for seed in range(3000):
        reservoir = Reservoir(10, seed=seed)
        reservoir.add(numbered(0, 40))
        chances[reservoir.trajectories()[:, 0, 0].long()] += 1
    assert chisquare(chances.numpy()).pvalue > 0.001


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_a_large_one_lies_in_a_file(tmp_path: Path, dtype: torch.dtype) -> None:
    small, large = Reservoir(4), Reservoir(4, memory=100, folder=tmp_path)
    pictures = torch.randint(256, (9, 3, 3, 8, 8)).to(dtype)
    for reservoir in (small, large):
        reservoir.add(pictures[:6])
        reservoir.add(pictures[6:])
    assert not small.on_disk
    assert large.on_disk
    assert [path.stat().st_size for path in tmp_path.iterdir()] == [4 * 3 * 3 * 64 * pictures.element_size()]
    assert torch.equal(large.trajectories(), small.trajectories())
    assert large.trajectories().dtype == dtype
    del large, reservoir
    assert list(tmp_path.iterdir()) == []


def test_what_is_read_is_a_copy() -> None:
    reservoir = Reservoir(3)
    reservoir.add(numbered(0, 3))
    before = reservoir.trajectories()
    reservoir.trajectories().zero_()
    reservoir.trajectories(2).zero_()
    assert torch.equal(reservoir.trajectories(), before)


@pytest.mark.parametrize("memory", [0, 2**30])
def test_a_state_goes_on(memory: int, tmp_path: Path) -> None:
    whole, first, second = (Reservoir(5, memory, tmp_path, seed=3) for _ in range(3))
    whole.add(numbered(0, 11))
    whole.trajectories(2)
    whole.add(numbered(11, 30))
    first.add(numbered(0, 11))
    first.trajectories(2)
    torch.save(first.state_dict(), tmp_path / "state.pt")
    second.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    second.add(numbered(11, 30))
    assert torch.equal(second.trajectories(), whole.trajectories())
    assert second.seen == 41


def test_an_empty_state_goes_on() -> None:
    reservoir = Reservoir(5)
    reservoir.load_state_dict(Reservoir(5).state_dict())
    assert len(reservoir) == 0


def test_a_state_of_another_capacity() -> None:
    reservoir = Reservoir(50)
    reservoir.add(numbered(0, 80))
    smaller, larger = Reservoir(20), Reservoir(70)
    for other in (smaller, larger):
        other.load_state_dict(reservoir.state_dict())
        assert set(other.trajectories()[:, 0, 0].tolist()) <= set(reservoir.trajectories()[:, 0, 0].tolist())
        other.add(numbered(80, 30))
    assert len(smaller) == 20
    assert smaller.seen == 110
    assert len(larger) == 70


def test_a_draw_is_without_replacement() -> None:
    reservoir = Reservoir(9)
    reservoir.add(numbered(0, 9))
    drawn = reservoir.trajectories(5, torch.Generator().manual_seed(0))[:, 0, 0].tolist()
    assert len(set(drawn)) == 5
    assert len(reservoir.trajectories(100)) == 9


def test_wrong_input() -> None:
    with pytest.raises(InputError, match="capacity is 0"):
        Reservoir(0)
    reservoir = Reservoir(3)
    with pytest.raises(InputError, match="the reservoir is empty"):
        reservoir.trajectories()
    with pytest.raises(InputError, match="not finite"):
        reservoir.add(torch.full((1, 2, 1), math.nan))
    reservoir.add(numbered(0, 1))
    with pytest.raises(InputError, match=r"the shape \(3, 1\), the reservoir holds \(2, 1\)"):
        reservoir.add(torch.zeros(1, 3, 1))
