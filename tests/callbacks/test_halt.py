"""A loss that is no number stops the run, names the step, and saves the state from before it."""

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer
from torch import nn
from torch.utils.data import DataLoader

from lightning_binding.callbacks import HaltOnNonFinite, NonFiniteLoss
from lightning_binding.module import BindingModule


class Breaks(BindingModule):
    """A module whose loss is not finite at step 2."""

    def __init__(self, value: float) -> None:
        super().__init__(optimizer=lambda groups: torch.optim.SGD(groups, lr=1.0))
        self.save_hyperparameters()
        self.network, self.value = nn.Linear(1, 1, bias=False), value
        nn.init.zeros_(self.network.weight)

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        return self.network.weight.sum() * (self.value if batch_idx == 2 else -1)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_the_step_is_named_and_the_state_before_it_saved(tmp_path: Path, value: float) -> None:
    module = Breaks(value)
    trainer = Trainer(
        default_root_dir=tmp_path,
        max_steps=5,
        callbacks=[HaltOnNonFinite()],
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
    )
    with pytest.raises(NonFiniteLoss, match=r"the loss is (nan|inf) at step 2.*nonfinite-step=2.ckpt"):
        trainer.fit(module, DataLoader([torch.zeros(1)] * 5))  # type: ignore[arg-type]
    saved = Breaks.from_checkpoint(tmp_path / "nonfinite-step=2.ckpt")
    assert saved.network.weight == 2
    checkpoint = torch.load(tmp_path / "nonfinite-step=2.ckpt", weights_only=True)
    assert checkpoint["global_step"] == 2
