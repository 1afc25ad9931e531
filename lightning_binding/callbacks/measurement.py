"""When a generative model is measured, with which weights, and where the numbers go."""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities import rank_zero_info
from tqdm import tqdm

from lightning_binding.callbacks.ema import averaged_weights


class Measurement(Callback, ABC):
    """Measures what a model draws, which is too slow to do in every validation step.

    The averaged weights are used where there is an `EMA` callback, and the global random numbers are left as they
    were. Nothing is measured in a `fast_dev_run`. A subclass gives `evaluate`.

    Args:
        every_n_steps: Optimizer steps between two measurements at least; None measures at every validation.
        at_start: Measure the untrained model too, before the first step.
        at_end: Measure the last step, if the last validation did not.
        seed: Seed of what is drawn.
    """

    def __init__(self, every_n_steps: int | None, at_start: bool, at_end: bool, seed: int) -> None:
        self.every_n_steps, self.seed = every_n_steps, seed
        self.at_start, self.at_end = at_start, at_end
        self.history: list[tuple[int, dict[str, float]]] = []

    @abstractmethod
    def evaluate(self, trainer: Trainer, pl_module: LightningModule) -> tuple[dict[str, float], str]:
        """The numbers by their keys in the log, and how they were measured, in a few words; on every rank alike."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measures the model that training starts from."""
        if self.at_start and trainer.global_step == 0 and not trainer.fast_dev_run:  # type: ignore[attr-defined]
            self._publish(trainer, pl_module, self.measure(trainer, pl_module))

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measures at a validation, and logs under it so that a `ModelCheckpoint` can watch; `validate` always does."""
        last = self.history[-1][0] if self.history else None
        alone = trainer.state.fn == TrainerFn.VALIDATING
        due = alone or last is None or trainer.global_step - last >= (self.every_n_steps or 1)
        if trainer.sanity_checking or trainer.fast_dev_run or not due:  # type: ignore[attr-defined]
            return
        values = self.measure(trainer, pl_module)
        pl_module.log_dict(values)
        self._publish(trainer, pl_module, values)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measures the last step."""
        measured = self.history and self.history[-1][0] == trainer.global_step
        if self.at_end and not measured and not trainer.fast_dev_run:  # type: ignore[attr-defined]
            self._publish(trainer, pl_module, self.measure(trainer, pl_module))

    @torch.no_grad()
    def measure(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, float]:
        """Draws, computes every metric, and says what came out."""
        with averaged_weights(trainer, pl_module) as averaged, torch.random.fork_rng(devices=[]):
            values, how = self.evaluate(trainer, pl_module)
        shown = ", ".join(f"{key} {value:.4g}" for key, value in values.items())
        rank_zero_info(f"Step {trainer.global_step}: {shown} ({how}, {'averaged' if averaged else 'raw'} weights).")
        return values

    def state_dict(self) -> dict[str, Any]:
        """The history goes on when a run does."""
        return {"history": self.history}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes the history up again."""
        self.history = [(step, dict(values)) for step, values in state_dict["history"]]

    def _publish(self, trainer: Trainer, pl_module: LightningModule, values: dict[str, float]) -> None:
        self.history.append((trainer.global_step, values))
        trainer.callback_metrics.update({key: torch.tensor(value) for key, value in values.items()})
        if not trainer.validating:
            for logger in trainer.loggers:
                logger.log_metrics(values, trainer.global_step)


def progress(trainer: Trainer, items: Iterable[Any], what: str) -> Iterable[Any]:
    """The items, with a progress bar where the trainer shows its own."""
    visible = trainer.is_global_zero and trainer.progress_bar_callback is not None
    return tqdm(items, desc=what, disable=not visible, leave=False)
