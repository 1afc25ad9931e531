"""FSDP2: of weights, gradients, optimizer state and average, each process keeps a part.

A part of the network (a block) is whole while it is computed. For evaluation the whole network is gathered once: ranks
may then call it as often as their share of the data asks for, or not at all, where every call of a sharded network is
one that all ranks must make together.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, cast
from weakref import WeakSet

import torch
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict, set_model_state_dict
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from lightning_binding.errors import InputError

_WHOLE: "WeakSet[nn.Module]" = WeakSet()


def shard(network: nn.Module, parts: Sequence[nn.Module], mesh: DeviceMesh) -> None:
    """Shards a network in place, once.

    Args:
        network: What is trained.
        parts: Modules of it that are gathered by themselves; what is in none of them is gathered with the network.
        mesh: All processes.

    Raises:
        InputError: If there are no parts.
    """
    if not parts:
        raise InputError(
            f"FSDP2 shards the blocks of RINDiffusion, and {type(network).__name__} has none to shard: use DDP "
            "(--config configs/trainer/ddp.yaml)."
        )
    if not isinstance(network, FSDPModule):
        for part in parts:
            fully_shard(part, mesh=mesh, reshard_after_forward=True)
        fully_shard(network, mesh=mesh, reshard_after_forward=True)


def shard_like(copy: nn.Module, network: nn.Module) -> None:
    """Shards a copy of a network as the network is, if it is."""
    if isinstance(network, FSDPModule):
        parts = [name for name, module in network.named_modules() if isinstance(module, FSDPModule) and name]
        mesh = cast(Any, next(network.parameters())).device_mesh
        shard(copy, [copy.get_submodule(name) for name in parts], mesh)


def gather(network: nn.Module) -> None:
    """Makes a sharded network whole in every process until `scatter`; all call it."""
    with torch.inference_mode(False), torch.no_grad():  # what is gathered in an evaluation is trained with afterwards
        for module in _sharded(network):
            module.set_reshard_after_forward(False, recurse=False)
            module.unshard()
    _WHOLE.add(network)


def scatter(network: nn.Module) -> None:
    """Leaves each process with its part again."""
    for module in _sharded(network):
        module.reshard()
        module.set_reshard_after_forward(True, recurse=False)
    _WHOLE.discard(network)


@contextmanager
def whole(network: nn.Module) -> Iterator[None]:
    """A sharded network is whole inside, and afterwards what it was; every process enters and leaves."""
    before = network in _WHOLE
    gather(network)
    try:
        yield
    finally:
        if not before:
            scatter(network)


@contextmanager
def in_parts(network: nn.Module) -> Iterator[None]:
    """The parameters are the shards inside, to be changed, and afterwards what they were."""
    before = network in _WHOLE
    scatter(network)
    try:
        yield
    finally:
        if before:
            gather(network)


def whole_state(module: nn.Module) -> dict[str, Tensor]:
    """The state dict with whole weights; where some are sharded, on the CPU, and empty but in the first process."""
    if not _sharded(module):
        return module.state_dict()
    options = StateDictOptions(full_state_dict=True, cpu_offload=True)
    return cast(dict[str, Tensor], get_model_state_dict(module, options=options))


def load_whole_state(module: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Loads whole weights, which every process has, into a module, sharded or not."""
    if _sharded(module):
        set_model_state_dict(module, dict(state), options=StateDictOptions(full_state_dict=True))
    else:
        module.load_state_dict(state)


def whole_tensor(value: Any) -> Any:
    """A sharded tensor as a whole one on the CPU; anything else as it is."""
    return value.full_tensor().cpu() if isinstance(value, DTensor) else value


def part_like(parameter: Tensor, value: Any) -> Any:
    """What an optimizer keeps of a parameter, sharded as the parameter is."""
    if not isinstance(parameter, DTensor) or not isinstance(value, Tensor) or value.shape != parameter.shape:
        return value
    return distribute_tensor(value.to(parameter.device), parameter.device_mesh, parameter.placements)


def _sharded(network: nn.Module) -> list[FSDPModule]:
    return [module for module in network.modules() if isinstance(module, FSDPModule)]
