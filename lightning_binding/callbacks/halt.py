"""Stops a run whose loss is no longer a number, before the weights are."""

import math
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from lightning_binding.errors import InputError
from lightning_binding.weights import NONFINITE


class NonFiniteLoss(InputError):
    """The loss became NaN or infinite."""


class HaltOnNonFinite(Callback):
    """Stops when the loss is NaN or infinite: names the step and saves the state from before its optimizer step.

    Looking at the loss makes the host wait for the device, which costs little where steps are long. Every rank takes
    part, so all of them stop together.

    Args:
        every_n_steps: Batches between two looks; with more than 1, the state that is saved may hold the damage already.
    """

    def __init__(self, every_n_steps: int = 1) -> None:
        self.every_n_steps = every_n_steps
        self._batches = 0

    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: Tensor) -> None:
        """Looks at the loss before its gradient reaches the weights."""
        self._batches += 1
        if self._batches % self.every_n_steps:
            return
        value = float(loss.detach())
        if trainer.strategy.reduce_boolean_decision(math.isfinite(value), all=True):
            return
        step = trainer.global_step
        path = Path(trainer.log_dir or trainer.default_root_dir) / f"{NONFINITE}step={step}.ckpt"
        trainer.save_checkpoint(path, weights_only=False)  # with the optimizer, so that the run can go on
        raise NonFiniteLoss(
            f"the loss is {value} at step {step}, so training stops. The state before this step is saved in {path}; "
            "go on from it with --ckpt_path and a lower learning rate, float32 precision, or gradient clipping "
            "(--trainer.gradient_clip_val)."
        )

    def state_dict(self) -> dict[str, Any]:
        """The count goes on when a run does."""
        return {"batches": self._batches}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes the count up again."""
        self._batches = int(state_dict["batches"])
