"""Processes, two as a rule, that form a torch.distributed group."""

import os
import socket
from collections.abc import Callable
from multiprocessing.pool import Pool
from typing import Any

import torch
import torch.distributed
import torch.multiprocessing


class GlooPool:
    """One pool of one process for each rank, so that a call can be sent to each."""

    def __init__(self, world: int = 2) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        context = torch.multiprocessing.get_context("fork")  # the modules are imported already
        self.pools: list[Pool] = [context.Pool(1, join, (rank, world, port)) for rank in range(world)]

    def __call__(self, function: Callable[..., Any], *args: Any) -> list[Any]:
        """Runs `function(rank, world, *args)` in all processes and returns their results.

        The function is one of a module's top level; arguments and results can be pickled.
        """
        waiting = [
            pool.apply_async(call, (function, rank, len(self.pools), args)) for rank, pool in enumerate(self.pools)
        ]
        return [result.get(timeout=120) for result in waiting]

    def close(self) -> None:
        """Ends the processes."""
        for pool in self.pools:
            pool.terminate()
            pool.join()


def join(rank: int, world: int, port: int) -> None:
    """Makes a process a member of the group."""
    torch.set_num_threads(1)
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.distributed.init_process_group("gloo", rank=rank, world_size=world)


def call(function: Callable[..., Any], rank: int, world: int, args: tuple[Any, ...]) -> Any:
    """Calls the function, with the same random numbers in every call."""
    torch.manual_seed(0)
    return function(rank, world, *args)
