"""A module that learns nothing and writes down what it was fed."""

from typing import Any

import torch
from lightning.pytorch import LightningModule


class Diary(LightningModule):
    """The bytes that each step saw.

    Args:
        key: What of a batch is written down.
    """

    def __init__(self, key: str) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.key = key
        self.steps: dict[int, bytes] = {}

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        self.steps[self.global_step] = batch[self.key].numpy().tobytes()
        return self.weight * 0

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), 0.1)
