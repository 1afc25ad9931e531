"""Options of the command line that the state in a checkpoint would beat."""

from collections.abc import Sequence
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info

from lightning_binding.cli.resume import Difference, plain


class Overrides(Callback):
    """Puts changed settings of optimizers, schedulers and callbacks into the state that a checkpoint restored.

    A checkpoint's optimizer state holds the learning rate, the weight decay and so on, and many schedulers and
    callbacks keep their options, too, which would beat the command line. A group of parameters whose setting is not the
    optimizer's (such as one without weight decay) keeps its own. A scheduler that keeps an option under no name of its
    own cannot be told; this is said.

    Args:
        differences: What the checkpoint has otherwise of the model.
        callbacks: What its run had otherwise of callbacks.
    """

    def __init__(self, differences: Sequence[Difference], callbacks: Sequence[Difference] = ()) -> None:
        self.differences, self.callbacks = differences, callbacks

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Applies the settings, when the state has been restored."""
        for key, old, new, _ in self.callbacks:
            _, _, name, *rest = key.split(".")
            for callback in trainer.callbacks:  # type: ignore[attr-defined]
                if type(callback).__name__ == name and len(rest) == 2:
                    _change(callback, rest[-1], old, new)
        for key, old, new, _ in self.differences:
            part, _, name = key.removeprefix("model.init_args.").rpartition(".init_args.")
            if part == "optimizer":
                self._optimizers(trainer, name, old, new)
            elif part == "scheduler":
                done = [_change(config.scheduler, name, old, new) for config in trainer.lr_scheduler_configs]
                if not any(done):
                    rank_zero_info(
                        f"{key}: {new} is not used after all; the state of the scheduler in the checkpoint goes on, "
                        f"and keeps no {name}. To begin its schedule anew, begin from the weights: --model.init_from."
                    )

    def _optimizers(self, trainer: Trainer, name: str, old: Any, new: Any) -> None:
        for optimizer in trainer.optimizers:
            for group in optimizer.param_groups:
                if name == "lr" and group.get("initial_lr", group["lr"]) == old:
                    group["lr"] *= new / old
                    group["initial_lr"] = new
                elif name != "lr" and plain(group.get(name)) == plain(old):
                    group[name] = new
        if name == "lr":
            for config in trainer.lr_scheduler_configs:
                rates = getattr(config.scheduler, "base_lrs", [])
                config.scheduler.base_lrs = [new if rate == old else rate for rate in rates]


def _change(owner: Any, name: str, old: Any, new: Any) -> bool:
    """Changes an attribute that has the old value; whether it has the new one now."""
    attributes = vars(owner)
    if name in attributes and plain(attributes[name]) == plain(old):
        setattr(owner, name, new)
    return name in attributes and bool(plain(attributes[name]) == plain(new))
