"""Lightning's strategy for FSDP2, with checkpoints of whole weights."""

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

from lightning.pytorch.strategies import ModelParallelStrategy
from torch import nn
from torch.optim import Optimizer

from lightning_binding.checkpoints import VerifiedCheckpointIO
from lightning_binding.sharding import load_whole_state, part_like, whole_state, whole_tensor


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
            index: {name: whole_tensor(value) for name, value in values.items()}
            for index, values in state["state"].items()
        }
        return {**state, "state": whole} if self.is_global_zero else {}

    def load_optimizer_state_dict(self, checkpoint: Mapping[str, Any]) -> None:
        """Loads such a state, of which each process keeps its part."""
        for optimizer, state in zip(self.optimizers, checkpoint["optimizer_states"], strict=True):
            parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
            parts = {
                index: {name: part_like(parameters[index], value) for name, value in values.items()}
                for index, values in state["state"].items()
            }
            optimizer.load_state_dict({**state, "state": parts})

    def load_checkpoint(self, checkpoint_path: str | Path, weights_only: bool | None = None) -> dict[str, Any]:
        """Verifies a checkpoint and reads it in every process; nothing in it is executed.

        Raises:
            InputError: If it is damaged.
        """
        return self.checkpoint_io.load_checkpoint(checkpoint_path, weights_only=True)
