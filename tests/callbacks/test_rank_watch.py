"""Two ranks, of which one is killed or sleeps: the other ends in time and says which."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lightning_binding import InputError
from lightning_binding.callbacks import RankWatch

TIMEOUT = 4.0


def start(rank: int, port: int, what: str) -> "subprocess.Popen[str]":
    """A rank as torchrun would start it, without anybody who watches over it."""
    place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2, "GROUP_RANK": 0}
    place |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "TORCHELASTIC_RUN_ID": "test", "OMP_NUM_THREADS": 1}
    return subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("watched.py")), what, str(TIMEOUT)],
        env={**os.environ, **{name: str(value) for name, value in place.items()}},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def both(what: str) -> "list[subprocess.Popen[str]]":
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    return [start(rank, port, what) for rank in range(2)]


@pytest.mark.parametrize("what", ["killed", "asleep"])
def test_the_culprit_is_named(what: str) -> None:
    first, second = both(what)
    try:
        begun = time.monotonic()
        text, _ = first.communicate(timeout=120)  # half an hour without the callback
        assert first.returncode != 0
        assert "rank 1 did not come with its loss at step 2 within 4 s" in text, text
        assert time.monotonic() - begun < 100
        assert (second.poll() is None) == (what == "asleep")
    finally:
        for rank in (first, second):
            rank.kill()
            rank.wait()


def test_ranks_that_are_well() -> None:
    ranks = both("well")
    for rank in ranks:
        text, _ = rank.communicate(timeout=120)
        assert rank.returncode == 0, text
        assert "steps 4" in text


def test_bad_numbers() -> None:
    with pytest.raises(InputError, match="timeout is 0"):
        RankWatch(0)
    with pytest.raises(InputError, match="every_n_batches is -1"):
        RankWatch(every_n_batches=-1)
