"""A model and data that fit in a second, for tests of what surrounds them."""

import lightning_binding  # isort: skip  # noqa: F401  (first: user code that imports Lightning begins so, too)

from typing import Any

import torch
from lightning.pytorch import LightningDataModule
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from lightning_binding.module import BindingModule


class ToyPart(nn.Module):
    """A part of the toy model.

    Args:
        gain: Factor.
    """

    def __init__(self, gain: float = 1.0) -> None:
        super().__init__()
        self.gain = gain


class ToyModel(BindingModule):
    """A linear model of pictures.

    Args:
        image_size: Side of the pictures.
        width: Outputs.
        part: A part.
        optimizer: Factory of the optimizer.
        scheduler: Factory of the scheduler.
    """

    def __init__(
        self,
        image_size: int = 4,
        width: int = 2,
        part: ToyPart | None = None,
        optimizer: OptimizerCallable = torch.optim.SGD,
        scheduler: LRSchedulerCallable | None = None,
    ) -> None:
        super().__init__(optimizer, scheduler)
        self.save_hyperparameters()
        self.image_size, self.part = image_size, part
        self.network = nn.Linear(image_size**2, width)

    def trained(self) -> nn.Module:
        return self.network

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        loss = self.network(batch["image"].flatten(1)).square().mean()
        self.log("train/loss", loss)
        return loss

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        self.log("val/loss", self.network(batch["image"].flatten(1)).square().mean())

    def test_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        self.log("test/loss", self.network(batch["image"].flatten(1)).square().mean())

    def predict_step(self, batch: dict[str, Tensor], batch_idx: int) -> Any:
        return self.network(batch["image"].flatten(1))


class Ones(Dataset[dict[str, Tensor]]):
    """Four white pictures."""

    def __init__(self, size: int) -> None:
        self.size = size

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {"image": torch.ones(self.size, self.size)}


class ToyData(LightningDataModule):
    """White pictures.

    Args:
        image_size: Side of the pictures.
        batch_size: Pictures in a batch.
    """

    def __init__(self, image_size: int = 4, batch_size: int = 2) -> None:
        super().__init__()
        self.image_size, self.batch_size = image_size, batch_size

    def train_dataloader(self) -> DataLoader[dict[str, Tensor]]:
        return DataLoader(Ones(self.image_size), batch_size=self.batch_size)

    def val_dataloader(self) -> DataLoader[dict[str, Tensor]]:
        return self.train_dataloader()

    def test_dataloader(self) -> DataLoader[dict[str, Tensor]]:
        return self.train_dataloader()

    def predict_dataloader(self) -> DataLoader[dict[str, Tensor]]:
        return self.train_dataloader()
