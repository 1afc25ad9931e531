"""What every test shares: few threads, no network, fixed seeds, and two processes that talk over gloo."""

import os

os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"  # of three processes on two cores, one waits
os.environ["HF_HUB_OFFLINE"] = "1"  # a forgotten download fails at once
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")  # the tests are of the CPU

import lightning_binding  # isort: skip  # noqa: F401  (before anything imports torchvision)

import logging
import threading
from collections.abc import Iterator
from typing import Any

import hypothesis
import numpy as np
import pytest
import torch
from gloo_pool import GlooPool
from tqdm import tqdm

# Machines differ in speed, so no example has a deadline; the examples are the same in every run.
hypothesis.settings.register_profile("tests", deadline=None, derandomize=True)
hypothesis.settings.load_profile("tests")
torch.set_num_threads(1)


def _own_lock() -> None:
    """The lock of progress bars is one of all forks otherwise, and stays locked when one that draws is killed."""
    tqdm.set_lock(threading.RLock())


_own_lock()
os.register_at_fork(after_in_child=_own_lock)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Parts of the suite in order, which share what modules and the session make; who is done takes from the other."""
    from xdist.scheduler import WorkStealingScheduling

    return WorkStealingScheduling(config, log) if config.getvalue("dist") == "load" else None


@pytest.fixture(autouse=True)
def seed() -> None:
    """Every test begins with the same random numbers, whatever ran before."""
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002


@pytest.fixture(autouse=True)
def alone() -> Iterator[None]:
    """A trainer of distributed processes leaves its group behind, which a fork of this process must not have."""
    yield
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


class _Lines(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


@pytest.fixture
def told() -> Iterator[list[str]]:
    """What the user is told: the lines of `rank_zero_info` during the test."""
    handler, logger = _Lines(), logging.getLogger("lightning.pytorch.utilities.rank_zero")
    logger.addHandler(handler)
    yield handler.lines
    logger.removeHandler(handler)


@pytest.fixture(scope="session")
def gloo() -> Iterator[GlooPool]:
    """`gloo(function, *args)` runs `function(rank, world, *args)` in two processes and returns both results."""
    pool = GlooPool()
    yield pool
    pool.close()
