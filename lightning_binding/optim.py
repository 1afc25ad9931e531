"""What every method's optimisation shares: parameter groups, and a warm-up with a truncated cosine.

LAMB is `timm.optim.Lamb`. With `max_grad_norm: null` and `eps: 1e-8` it is the optimizer of the RIN papers: nothing is
clipped inside, and a group without weight decay (see `parameter_groups`) is not adapted either.
"""

import functools
import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from timm.optim import muon
from torch import nn
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
    """`timm.optim.Muon`, whose Newton-Schulz iteration is of float32 where the processor has no bfloat16.

    timm computes it in bfloat16 whatever the device, which such a processor emulates at a fifth of the speed; the
    arguments are timm's. Vectors are left to AdamW. Jordan et al., *Muon*, 2024.
    """

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> Any:
        """A step of the optimizer, as timm's."""
        devices = {parameter.device.type for group in self.param_groups for parameter in group["params"]}
        if "cpu" not in devices or processor_has_bfloat16():
            return super().step(closure)  # type: ignore[no-untyped-call]
        iteration = muon.zeropower_via_newtonschulz
        muon.zeropower_via_newtonschulz = functools.partial(iteration, dtype=torch.float32)  # timm hands no type down
        try:
            return super().step(closure)  # type: ignore[no-untyped-call]
        finally:
            muon.zeropower_via_newtonschulz = iteration
