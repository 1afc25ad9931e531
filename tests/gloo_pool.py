"""Two processes that form a torch.distributed group; a module of its own, since the processes import it."""

import os
import socket
from collections.abc import Callable
from multiprocessing.pool import Pool
from typing import Any

import lightning_binding  # noqa: F401  # isort: skip  (before anything imports torchvision, in each process)

import torch
import torch.distributed
import torch.multiprocessing

WORLD = 2


class GlooPool:
    """One pool of one process for each rank, so that a call can be sent to each."""

    def __init__(self) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        context = torch.multiprocessing.get_context("spawn")
        self.pools: list[Pool] = [context.Pool(1, join, (rank, port)) for rank in range(WORLD)]

    def __call__(self, function: Callable[..., Any], *args: Any) -> list[Any]:
        """Runs `function(rank, world, *args)` in both processes and returns both results.

        The function is one of a module's top level; arguments and results can be pickled.
        """
        waiting = [pool.apply_async(call, (function, rank, args)) for rank, pool in enumerate(self.pools)]
        return [result.get(timeout=120) for result in waiting]

    def close(self) -> None:
        """Ends the processes."""
        for pool in self.pools:
            pool.terminate()
            pool.join()


def join(rank: int, port: int) -> None:
    """Makes a process a member of the group."""
    torch.set_num_threads(1)
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.distributed.init_process_group("gloo", rank=rank, world_size=WORLD)


def call(function: Callable[..., Any], rank: int, args: tuple[Any, ...]) -> Any:
    """Calls the function, with the same random numbers in every call."""
    torch.manual_seed(0)
    return function(rank, WORLD, *args)
