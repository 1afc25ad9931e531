"""One process and several, with the same global batch, arrive at the same parameters.

Exact: which examples a step has, whatever the number of ranks. The sampler deals one order to the ranks in turn, so
batches of b on W ranks are together those of W b on one.

To 1e-5, in float32: the parameters, once every example has the same draws. DDP averages the gradients of the ranks;
at equal shares, which the sampler guarantees, the mean of means is the mean, but the sums are taken in another order.

Not the same: the draws of a run. Noise, crops and actions come from a generator of each rank, so two runs of different
worlds are equal in distribution alone; the tests give the draws of the example to both. Nor BatchNorm, whose
statistics are of a rank's batch; the walk is tested with a backbone without it.
"""

import functools
from collections.abc import Callable
from typing import Any

import pytest
from scale import fits

METHODS = ["rin", "crw", "carml"]
Fit = Callable[..., Any]


@pytest.fixture(scope="module")
def fit(tmp_path_factory: pytest.TempPathFactory) -> Fit:
    """`fits.fit`, each of whose runs is made once."""

    @functools.cache
    def once(method: str, ranks: int, batch: int, accumulate: int = 1, draws: str = "example") -> Any:
        return fits.fit(method, ranks, batch, accumulate, draws, tmp_path_factory.mktemp("fit") / "parameters.pt")

    return once


def furthest(one: Any, other: Any) -> float:
    return max(float((one[name] - other[name]).detach().abs().max()) for name in one)


def same(alone: Any, found: Any, tolerance: float) -> None:
    assert found["steps"] == alone["steps"] >= 4
    assert furthest(found["before"], alone["before"]) == 0
    assert furthest(alone["before"], alone["after"]) > 1e-3  # the steps went somewhere
    difference = furthest(alone["after"], found["after"])
    print(f"largest difference: {difference:.2e}")
    assert difference < tolerance


@pytest.mark.parametrize("method", METHODS)
def test_two_ranks(method: str, fit: Fit) -> None:
    """Two ranks with half of the batch each agree with one process to 1e-5."""
    same(fit(method, 1, 8), fit(method, 2, 4), 1e-5)


@pytest.mark.long
@pytest.mark.parametrize("method", METHODS)
def test_four_ranks(method: str, fit: Fit) -> None:
    """And four with a quarter."""
    same(fit(method, 1, 8), fit(method, 4, 2), 1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_accumulated(method: str, fit: Fit) -> None:
    """One process that accumulates two halves of a batch agrees with one that takes it whole to 1e-6."""
    same(fit(method, 1, 8), fit(method, 1, 4, accumulate=2), 1e-6)


def test_own_draws(fit: Fit) -> None:
    """A run's own draws differ between worlds, and so do its parameters: equal in distribution alone."""
    alone, two = fit("rin", 1, 8, draws="rank"), fit("rin", 2, 4, draws="rank")
    assert furthest(alone["after"], two["after"]) > 1e-5


def test_batch_norm(fit: Fit) -> None:
    """With BatchNorm each rank has the statistics of its own batch, so the parameters differ."""
    alone, two = fit("crw_bn", 1, 8, draws="rank"), fit("crw_bn", 2, 4, draws="rank")
    assert furthest(alone["after"], two["after"]) > 1e-5
