"""What every method's optimisation shares: parameter groups, and a warm-up with a truncated cosine.

LAMB is `timm.optim.Lamb`. With `max_grad_norm: null` and `eps: 1e-8` it is the optimizer of the RIN papers: nothing is
clipped inside, and a group without weight decay (see `parameter_groups`) is not adapted either.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from types import ModuleType
from typing import Any

import torch
from timm.optim import muon
from torch import nn
from torch.distributed.tensor import DTensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from lightning_binding.errors import InputError
from lightning_binding.precision import processor_has_bfloat16


def parameter_groups(parameters: Iterable[nn.Parameter]) -> list[dict[str, Any]]:
    """Two groups: matrices (positional embeddings too) with the optimizer's weight decay, vectors without.

    Biases and norm parameters are vectors. In LAMB the second group also has a trust ratio of 1, as in the original
    code's `exclude_from_weight_decay`, which TensorFlow Addons copies to the layer adaptation.
    """
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    groups: list[dict[str, Any]] = [
        {"params": [parameter for parameter in trained if parameter.ndim > 1]},
        {"params": [parameter for parameter in trained if parameter.ndim <= 1], "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


class WarmupCosine(LambdaLR):
    """Linear warm-up from 0, then the first part of a cosine: the schedule `cosine@r` of the original code.

    Step it after every optimizer step. With `fraction` r < 1 the rate does not reach 0: the cosine would end after
    (total_steps - warmup_steps) / r steps, and is cut off at `total_steps`.

    Args:
        optimizer: The optimizer whose learning rates are multiplied.
        total_steps: Optimizer steps of the whole run.
        warmup_steps: Steps of the linear warm-up; with as many as `total_steps` or more, there is nothing else.
        fraction: Part r in (0, 1] of the half cosine that is run through.

    Raises:
        InputError: If the steps or the fraction are out of range.
    """

    def __init__(self, optimizer: Optimizer, total_steps: int, warmup_steps: int = 0, fraction: float = 1.0) -> None:
        if warmup_steps < 0 or total_steps < 1:
            raise InputError(f"warmup_steps={warmup_steps} must not be negative, total_steps={total_steps} positive.")
        if not 0 < fraction <= 1:
            raise InputError(f"fraction={fraction} must lie in (0, 1].")

        def factor(step: int) -> float:
            if step < warmup_steps:
                return step / warmup_steps
            progress = min((step - warmup_steps) / max(1, total_steps - warmup_steps), 1.0)
            return 0.5 * (1 + math.cos(math.pi * fraction * progress))

        super().__init__(optimizer, factor)


class Muon(muon.Muon):
    """`timm.optim.Muon`, on processors without bfloat16 and on sharded networks too.

    timm computes the Newton-Schulz iteration in bfloat16 whatever the device, which a processor without it emulates at
    a fifth of the speed: there it is of float32. Vectors are left to AdamW, which works on many at once on a GPU; parts
    of a sharded network have no such operations, and are gone through one by one. The arguments are timm's.
    Jordan et al., *Muon*, 2024.
    """

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> Any:
        """A step of the optimizer, as timm's."""
        parameters = [parameter for group in self.param_groups for parameter in group["params"]]
        changed: dict[str, Any] = {}  # timm hands neither down
        if any(each.device.type == "cpu" for each in parameters) and not processor_has_bfloat16():
            changed["zeropower_via_newtonschulz"] = partial(muon.zeropower_via_newtonschulz, dtype=torch.float32)
        if any(isinstance(each, DTensor) for each in parameters):
            changed |= {name: one_by_one(getattr(muon, name)) for name in ("adamw", "nadamw")}
        with replaced(muon, changed):
            return super().step(closure)  # type: ignore[no-untyped-call]


def one_by_one(update: Callable[..., None]) -> Callable[..., None]:
    """An update of timm's that goes through the tensors one by one, whatever it is told."""

    def single(*arguments: Any, **options: Any) -> None:
        update(*arguments, **{**options, "foreach": False})

    return single


@contextmanager
def replaced(module: ModuleType, functions: Mapping[str, Any]) -> Iterator[None]:
    """A module has other functions of some names inside, and its own again afterwards."""
    own = {name: getattr(module, name) for name in functions}
    for name, function in functions.items():
        setattr(module, name, function)
    try:
        yield
    finally:
        for name, function in own.items():
            setattr(module, name, function)
