"""Two ranks, of which one is killed or sleeps: the other ends in time and says which."""

import os
import signal
import time

import pytest
import torch
from forks import Fork
from launching import free_port
from lightning.pytorch import LightningModule, Trainer
from torch.utils.data import DataLoader

from lightning_binding import InputError
from lightning_binding.callbacks import RankWatch

TIMEOUT = 4.0


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


def fit(what: str) -> None:
    """One rank of a fit in which rank 1 dies, hangs, or behaves."""
    trainer = Trainer(
        accelerator="cpu", devices=2, strategy="ddp", max_epochs=1, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, callbacks=[RankWatch(TIMEOUT)],
    )  # fmt: skip
    trainer.fit(Troubled(what), DataLoader(torch.ones(16, 1), 2))
    print(f"steps {trainer.global_step}")


def both(what: str) -> list[Fork]:
    """Two ranks as torchrun would start them, without anybody who watches over them."""
    group = {"WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2, "GROUP_RANK": 0, "TORCHELASTIC_RUN_ID": "test"}
    group |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port()}
    return [Fork(fit, what, environment={**group, "RANK": rank, "LOCAL_RANK": rank}) for rank in range(2)]


@pytest.mark.parametrize("what", ["killed", "asleep"])
def test_the_culprit_is_named(what: str) -> None:
    first, second = both(what)
    try:
        begun = time.monotonic()
        status, text = first.wait(120)  # half an hour without the callback
        assert status not in (0, None)
        assert f"rank 1 did not come with its loss at step 2 within {TIMEOUT:g} s" in text, text
        assert time.monotonic() - begun < 100
        assert second.wait(0)[0] == (None if what == "asleep" else -signal.SIGKILL)
    finally:
        for rank in (first, second):
            rank.close()


def test_ranks_that_are_well() -> None:
    for rank in both("well"):
        status, text = rank.wait(120)
        assert status == 0, text
        assert "steps 4" in text
        rank.close()


def test_bad_numbers() -> None:
    with pytest.raises(InputError, match="timeout is 0"):
        RankWatch(0)
    with pytest.raises(InputError, match="every_n_batches is -1"):
        RankWatch(every_n_batches=-1)
