"""What processes of a distributed run do together; by itself, a process does it alone."""

from collections.abc import Callable
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from lightning_binding.errors import InputError

Result = TypeVar("Result")


def world_size() -> int:
    """Processes of the run; 1 without a process group."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def gather_objects(value: Any) -> list[Any]:
    """The plain data of every process, in the order of ranks; every process calls it."""
    if world_size() == 1:
        return [value]
    found: list[Any] = [None] * world_size()
    dist.all_gather_object(found, value)
    return found


def gather_rows(rows: Tensor) -> Tensor:
    """The rows (n, ...) of all processes, in the order of ranks; every process calls it, each with its own n."""
    if world_size() == 1:
        return rows
    return torch.cat([part.to(rows.device) for part in gather_objects(rows.cpu())])


def decided_by_first(compute: Callable[[], Result]) -> Result:
    """What the first process computes, handed to all; an `InputError` there is raised in all.

    Args:
        compute: Called in the first process alone; what it returns is plain data and tensors on the CPU.
    """
    if world_size() == 1:
        return compute()
    outcome: list[Any] = [None, None]
    if dist.get_rank() == 0:
        try:
            outcome[0] = compute()
        except InputError as error:  # the others would wait for ever
            outcome[1] = str(error)
    dist.broadcast_object_list(outcome, src=0)
    if outcome[1] is not None:
        raise InputError(outcome[1])
    result: Result = outcome[0]
    return result
