"""One process and several, with the same global batch, arrive at the same parameters.

Exact: which examples a step has, whatever the number of ranks. The sampler deals one order to the ranks in turn, so
batches of b on W ranks are together those of W b on one.

To 1e-5, in float32: the parameters, once every example has the same draws. DDP averages the gradients of the ranks;
at equal shares, which the sampler guarantees, the mean of means is the mean, but the sums are taken in another order.

Not the same: the draws of a run. Noise, crops and actions come from a generator of each rank, so two runs of different
worlds are equal in distribution alone; the tests give the draws of the example to both. Nor BatchNorm, whose
statistics are of a rank's batch; the walk is tested with a backbone without it.
"""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

METHODS = ["rin", "crw", "carml"]


def fit(folder: Path, method: str, ranks: int, batch: int, accumulate: int = 1, draws: str = "example") -> Any:
    out = folder / f"{method}_{ranks}_{accumulate}_{draws}.pt"
    script = Path(__file__).with_name("fits.py")
    options = [method, str(ranks), str(batch), str(accumulate), draws, str(out)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    result = subprocess.run(
        [sys.executable, str(script), *options], capture_output=True, text=True, check=False, env=environment
    )
    assert result.returncode == 0, result.stderr
    return torch.load(out)


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
def test_two_ranks(method: str, tmp_path: Path) -> None:
    """Two ranks with half of the batch each agree with one process to 1e-5."""
    same(fit(tmp_path, method, 1, 8), fit(tmp_path, method, 2, 4), 1e-5)


@pytest.mark.long
@pytest.mark.parametrize("method", METHODS)
def test_four_ranks(method: str, tmp_path: Path) -> None:
    """And four with a quarter."""
    same(fit(tmp_path, method, 1, 8), fit(tmp_path, method, 4, 2), 1e-5)


@pytest.mark.parametrize("method", ["rin", "crw"])
def test_accumulated(method: str, tmp_path: Path) -> None:
    """One process that accumulates two halves of a batch agrees with one that takes it whole to 1e-6."""
    same(fit(tmp_path, method, 1, 8), fit(tmp_path, method, 1, 4, accumulate=2), 1e-6)


def test_own_draws(tmp_path: Path) -> None:
    """A run's own draws differ between worlds, and so do its parameters: equal in distribution alone."""
    alone, two = fit(tmp_path, "rin", 1, 8, draws="rank"), fit(tmp_path, "rin", 2, 4, draws="rank")
    assert furthest(alone["after"], two["after"]) > 1e-5


def test_batch_norm(tmp_path: Path) -> None:
    """With BatchNorm each rank has the statistics of its own batch, so the parameters differ."""
    alone, two = fit(tmp_path, "crw_bn", 1, 8, draws="rank"), fit(tmp_path, "crw_bn", 2, 4, draws="rank")
    assert furthest(alone["after"], two["after"]) > 1e-5
