"""One rank of a fit in which rank 1 dies, hangs, or behaves: `python watched.py killed|asleep|well TIMEOUT`."""

import os
import signal
import sys
import time

import lightning_binding  # noqa: F401  # isort: skip  (before anything imports torchvision)

import torch
from lightning.pytorch import LightningModule, Trainer
from torch.utils.data import DataLoader

from lightning_binding.callbacks.rank_watch import RankWatch


class Troubled(LightningModule):
    """At its third step, rank 1 does what it is told."""

    def __init__(self, what: str) -> None:
        super().__init__()
        self.layer, self.what = torch.nn.Linear(1, 1), what

    def training_step(self, batch: torch.Tensor, batch_idx: int) -> torch.Tensor:
        if batch_idx == 2 and self.global_rank == 1:
            if self.what == "killed":
                os.kill(os.getpid(), signal.SIGKILL)
            if self.what == "asleep":
                time.sleep(1000)
        return self.layer(batch).sum()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


if __name__ == "__main__":
    torch.set_num_threads(1)
    trainer = Trainer(
        accelerator="cpu", devices=2, strategy="ddp", max_epochs=1, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, callbacks=[RankWatch(float(sys.argv[2]))],
    )  # fmt: skip
    trainer.fit(Troubled(sys.argv[1]), DataLoader(torch.ones(16, 1), 2))
    print(f"steps {trainer.global_step}")
