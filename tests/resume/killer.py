"""Runs a command in a process that is killed again and again, until it comes to its end.

The packages are imported once; each run is a fork, so that a start takes a second. A process dies by SIGKILL: at a
random hook of a random batch, in the middle of writing a checkpoint, or at a random moment.
"""

import os
import random
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from forks import Fork

from lightning_binding import checkpoints
from lightning_binding.callbacks import ExactResume
from lightning_binding.cli import main

HOOKS = ("on_train_batch_start", "on_before_backward", "on_before_optimizer_step", "on_train_batch_end")
KINDS = (*HOOKS, "write", "time")


def die() -> None:
    """As `kill -9` from outside."""
    os.kill(os.getpid(), signal.SIGKILL)


def counted(function: Callable[..., Any], calls: int) -> Callable[..., Any]:
    """A function that dies when it is called for the last time."""
    left = [calls]

    def call(*args: Any, **options: Any) -> Any:
        left[0] -= 1
        if left[0] < 0:
            die()
        return function(*args, **options)

    return call


def arm(kind: str, random: random.Random) -> None:
    """Makes this process die some time after training has begun, and after eight batches at the latest."""
    if kind in ("write", "time"):
        setattr(ExactResume, HOOKS[0], counted(getattr(ExactResume, HOOKS[0]), 8))
    if kind == "write":
        checkpoints._Hashed.write = counted(checkpoints._Hashed.write, random.randrange(1, 200))
    elif kind == "time":
        start = ExactResume.on_train_start

        def on_train_start(self: ExactResume, *args: Any) -> None:
            signal.signal(signal.SIGALRM, lambda *_: die())
            signal.setitimer(signal.ITIMER_REAL, random.uniform(0.02, 0.5))
            start(self, *args)

        ExactResume.on_train_start = on_train_start
    else:
        setattr(ExactResume, kind, counted(getattr(ExactResume, kind), random.randrange(1, 8)))


def run(args: list[str], folder: Path, kind: str | None, seed: int) -> bool:
    """Runs the command in a fork; whether it came to its end, and was not killed."""

    def target() -> None:
        if kind is not None:
            arm(kind, random.Random(seed))
        main([*args, f"--trainer.default_root_dir={folder}"])

    fork = Fork(target)
    try:
        status, text = fork.wait(300)
        assert status in (0, -signal.SIGKILL), f"the run ended with {status}:\n{text}"
        return status == 0
    finally:
        fork.close()


def kill_until_done(args: list[str], folder: Path, kills: int, seed: int) -> list[str]:
    """Kills `kills` times, and then lets the run come to its end; what killed it each time."""
    kinds, chooser = [], random.Random(seed)
    while len(kinds) < kills:
        kind = KINDS[(seed + len(kinds)) % len(KINDS)]
        if run(args, folder, kind, chooser.randrange(2**32)):
            break  # it was faster than its death
        kinds.append(kind)
    assert run(args, folder, None, 0)
    return kinds
