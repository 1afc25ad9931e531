"""FSDP2: of weights, gradients, optimizer state and average, each process keeps a part.

A part of the network (a block) is whole while it is computed. For evaluation the whole network is gathered once: ranks
may then call it as often as their share of the data asks for, or not at all, where every call of a sharded network is
one that all ranks must make together.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, cast
from weakref import WeakSet

import torch
from lightning.pytorch.strategies import ModelParallelStrategy
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict, set_model_state_dict
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.optim import Optimizer

from lightning_binding.checkpoints import VerifiedCheckpointIO
from lightning_binding.errors import InputError

_WHOLE: "WeakSet[nn.Module]" = WeakSet()


class FullySharded(ModelParallelStrategy):
    """Lightning's strategy of FSDP2, over all processes of all nodes, with checkpoints like any other's.

    A checkpoint is one file with the whole weights, in the format of a run on one device or with DDP: it can be looked
    at, sampled from and gone on with by any strategy. The module says what is sharded, see `BindingModule.shards`.

    Args:
        timeout: Seconds after which a process that waits for another gives up.
    """

    def __init__(self, timeout: float = 1800.0) -> None:
        super().__init__(tensor_parallel_size=1, save_distributed_checkpoint=False, timeout=timedelta(seconds=timeout))
        self.checkpoint_io = VerifiedCheckpointIO()

    def setup_environment(self) -> None:
        """Makes the group of all processes."""
        self._data_parallel_size = self.num_nodes * self.num_processes
        super().setup_environment()

    @property
    def lightning_restore_optimizer(self) -> bool:
        """The optimizers are loaded as Lightning loads them, through `load_optimizer_state_dict`."""
        return True

    def lightning_module_state_dict(self) -> dict[str, Any]:
        """The whole weights, in the first process alone."""
        return whole_state(cast(nn.Module, self.lightning_module))

    def load_model_state_dict(self, checkpoint: Mapping[str, Any], strict: bool = True) -> None:
        """Loads whole weights."""
        load_whole_state(cast(nn.Module, self.lightning_module), checkpoint["state_dict"])

    def optimizer_state(self, optimizer: Optimizer) -> dict[str, Any]:
        """The state as an optimizer of whole weights has it, in the first process alone; all processes call it."""
        state = optimizer.state_dict()
        whole = {
            index: {name: _whole(value) for name, value in values.items()} for index, values in state["state"].items()
        }
        return {**state, "state": whole} if self.is_global_zero else {}

    def load_optimizer_state_dict(self, checkpoint: Mapping[str, Any]) -> None:
        """Loads such a state, of which each process keeps its part."""
        for optimizer, state in zip(self.optimizers, checkpoint["optimizer_states"], strict=True):
            parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
            parts = {
                index: {name: _like(parameters[index], value) for name, value in values.items()}
                for index, values in state["state"].items()
            }
            optimizer.load_state_dict({**state, "state": parts})

    def load_checkpoint(self, checkpoint_path: str | Path, weights_only: bool | None = None) -> dict[str, Any]:
        """Verifies a checkpoint and reads it in every process; nothing in it is executed.

        Raises:
            InputError: If it is damaged.
        """
        return self.checkpoint_io.load_checkpoint(checkpoint_path, weights_only=True)


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


def _whole(value: Any) -> Any:
    """A sharded tensor as a whole one on the CPU; anything else as it is."""
    return value.full_tensor().cpu() if isinstance(value, DTensor) else value


def _like(parameter: Tensor, value: Any) -> Any:
    """What an optimizer keeps of a parameter, sharded as the parameter is."""
    if not isinstance(parameter, DTensor) or not isinstance(value, Tensor) or value.shape != parameter.shape:
        return value
    return distribute_tensor(value.to(parameter.device), parameter.device_mesh, parameter.placements)


def _sharded(network: nn.Module) -> list[FSDPModule]:
    return [module for module in network.modules() if isinstance(module, FSDPModule)]
