"""Runs a command in a process that is killed again and again, until it comes to its end.

The packages are imported once; each run is a fork, so that a start takes a second. A process dies by SIGKILL: at a
random hook of a random batch, in the middle of writing a checkpoint, or at a random moment. Of several ranks one dies,
and `RankWatch` ends the others.
"""

import os
import random
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from forks import Fork
from launching import free_port

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


def run(args: list[str], folder: Path, kind: str | None, seed: int, ranks: int = 1) -> bool:
    """Runs the command in a fork, or in one for each rank, of which one dies; whether all came to their end."""
    chooser = random.Random(seed)
    culprit = 0 if kind == "write" else chooser.randrange(ranks)  # rank 0 writes

    def target(rank: int) -> None:
        if kind is not None and rank == culprit:
            arm(kind, chooser)
        main([*args, f"--trainer.default_root_dir={folder}"])

    forks = [Fork(target, rank, environment=environment) for rank, environment in enumerate(environments(ranks))]
    try:
        ends = [fork.wait(300) for fork in forks]
        killed = ends[culprit][0] == -signal.SIGKILL
        assert killed or {status for status, _ in ends} == {0}, f"the run ended with {ends}"
        return not killed
    finally:
        for fork in forks:
            fork.close()


def environments(ranks: int) -> list[dict[str, Any]]:
    """What torchrun would tell each rank; nothing, where there is one alone."""
    group = {"WORLD_SIZE": ranks, "LOCAL_WORLD_SIZE": ranks, "GROUP_RANK": 0, "TORCHELASTIC_RUN_ID": "killed"}
    group |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port()}
    return [{**group, "RANK": rank, "LOCAL_RANK": rank} if ranks > 1 else {} for rank in range(ranks)]


def kill_until_done(args: list[str], folder: Path, kills: int, seed: int, ranks: int = 1) -> list[str]:
    """Kills `kills` times, and then lets the run come to its end; what killed it each time."""
    kinds, chooser = [], random.Random(seed)
    while len(kinds) < kills:
        kind = KINDS[(seed + len(kinds)) % len(KINDS)]
        if run(args, folder, kind, chooser.randrange(2**32), ranks):
            break  # it was faster than its death
        kinds.append(kind)
    assert run(args, folder, None, 0, ranks)
    return kinds
