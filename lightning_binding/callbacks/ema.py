"""Exponential moving average of the trained network, used wherever the model is looked at."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, cast

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import WeightAveraging
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from lightning_binding.errors import InputError
from lightning_binding.module import BindingModule
from lightning_binding.sharding import in_parts, load_whole_state, scatter, shard_like, whole, whole_state


class EMA(WeightAveraging):
    """Averages `trained()` of a `BindingModule`; validation, test, samples and `state_dict` are the average's.

    After every optimizer step w_ema <- d w_ema + (1 - d) w, from the initial weights on. Buffers, integers among them,
    are copied and not averaged. A checkpoint holds the average in `state_dict` and the raw weights in
    `current_model_state`, Lightning's keys, so that loading it for anything but going on gives the average.

    Args:
        decay: d in [0, 1); the papers' is 0.9999.
        warmup: Use min(d, (1 + n) / (10 + n)) at the n-th update, so that short runs do not average their beginning.
            The papers do not.
        start_step: Optimizer step at which averaging begins, with a copy; before it the raw weights are used.

    Raises:
        InputError: If the decay or the step is out of range.
    """

    def __init__(self, decay: float = 0.9999, warmup: bool = True, start_step: int = 0) -> None:
        if not 0 <= decay < 1:
            raise InputError(f"EMA: decay={decay} must lie in [0, 1).")
        if start_step < 0:
            raise InputError(f"EMA: start_step={start_step} must not be negative.")
        super().__init__(use_buffers=False, multi_avg_fn=self._average)
        self.decay, self.warmup, self.start_step = decay, warmup, start_step
        self.loaded = False  # whether the module's weights are the average of a checkpoint, outside of a fit
        self.active = False  # whether the module holds the average at the moment

    def _average(self, averaged: list[Tensor], current: list[Tensor], updates: Tensor | int) -> None:
        n = int(updates)
        decay = min(self.decay, (1 + n) / (10 + n)) if self.warmup else self.decay
        torch._foreach_lerp_(averaged, current, 1 - decay)

    def should_update(self, step_idx: int | None = None, epoch_idx: int | None = None) -> bool:
        """After every optimizer step from `start_step` on."""
        return step_idx is not None and step_idx >= self.start_step

    @property
    def has_average(self) -> bool:
        """Whether there is an average to use."""
        return self._average_model is not None and int(self._average_model.n_averaged) > 0

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Copies the network when a fit begins."""
        if stage != "fit":
            return
        network = _trained(pl_module)
        self._average_model = AveragedModel(
            network, device=self._device or pl_module.device, use_buffers=False, **self._kwargs
        )
        if self.start_step == 0:
            self._average_model.n_averaged.fill_(1)  # the initial weights count, so that the first update averages
        rank_zero_info(
            f"EMA: validation, samples, test and export use the averaged weights (decay {self.decay:g}"
            f"{', warmed up' if self.warmup else ''})."
        )

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Puts the average where the network is by now: on its device, and in shards if the strategy made some."""
        assert self._average_model is not None
        self._average_model.to(self._device or pl_module.device)
        shard_like(self._average_model.module, _trained(pl_module))

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Averages after an optimizer step."""
        super().on_train_batch_end(trainer, _trained(pl_module), outputs, batch, batch_idx)  # type: ignore[arg-type]

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Nothing: steps count, not epochs."""

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Puts the average into the module."""
        if self.has_average and not self.active:
            self._swap_models(pl_module)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Puts the raw weights back."""
        if self.active:
            self._swap_models(pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leaves the average in the module."""
        if self.has_average:
            self._copy_average_to_current(pl_module)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Puts the raw weights back if validation was interrupted, perhaps on this rank alone: nothing is gathered."""
        if self.active:
            scatter(_trained(pl_module))
            self._swap_models(pl_module)

    def _swap_models(self, pl_module: LightningModule) -> None:
        network = _trained(pl_module)
        with in_parts(network):
            super()._swap_models(network)  # type: ignore[arg-type]
        self.active = not self.active

    def _copy_average_to_current(self, pl_module: LightningModule) -> None:
        super()._copy_average_to_current(_trained(pl_module))  # type: ignore[arg-type]

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Puts the average into `state_dict` and the raw weights beside it."""
        if not self.has_average or self.active:
            return
        average = cast(AveragedModel, self._average_model)
        prefix = _prefix(pl_module)
        checkpoint["current_model_state"] = checkpoint["state_dict"]
        checkpoint["state_dict"] = checkpoint["state_dict"] | {
            prefix + name: value for name, value in whole_state(average.module).items()
        }
        checkpoint["averaging_state"] = {"n_averaged": average.n_averaged}

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Takes both sets of weights up again when a fit goes on; otherwise says which are used."""
        if self._average_model is None:
            self.loaded = "averaging_state" in checkpoint
            if self.loaded:
                rank_zero_info("EMA: these are the averaged weights of the checkpoint.")
            return
        network, prefix = _trained(pl_module), _prefix(pl_module)
        load_whole_state(self._average_model.module, _without(prefix, checkpoint["state_dict"]))
        if "averaging_state" in checkpoint:
            self._average_model.n_averaged.copy_(checkpoint["averaging_state"]["n_averaged"])
            load_whole_state(network, _without(prefix, checkpoint["current_model_state"]))
        else:
            rank_zero_info("EMA: the checkpoint has no average; it begins at the checkpoint's weights.")


def _trained(pl_module: LightningModule) -> nn.Module:
    return pl_module.trained() if isinstance(pl_module, BindingModule) else pl_module


def _prefix(pl_module: LightningModule) -> str:
    trained = _trained(pl_module)
    name = next(name for name, module in pl_module.named_modules() if module is trained)
    return f"{name}." if name else ""


def _without(prefix: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}


@contextmanager
def averaged_weights(trainer: Trainer, pl_module: LightningModule) -> Iterator[bool]:
    """The average of an `EMA` callback is in the module inside this context, whatever the order of callbacks.

    Every rank enters and leaves: where the network is sharded, they gather it together.

    Yields:
        Whether the weights are averaged ones.
    """
    ema = next((callback for callback in trainer.callbacks if isinstance(callback, EMA)), None)  # type: ignore[attr-defined]
    if ema is None or not ema.has_average or ema.active:
        with whole(_trained(pl_module)):
            yield ema is not None and (ema.active or ema.loaded)
        return
    ema._swap_models(pl_module)
    try:
        with whole(_trained(pl_module)):
            yield True
    finally:
        ema._swap_models(pl_module)
