"""A run that is restarted from a checkpoint is fed what it would have been fed."""

import os
import signal
from typing import Any

import pytest
import torch
from data.diary import Diary
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch.utils.data import DataLoader, Dataset

from lightning_binding.data import BindingDataModule
from lightning_binding.data.imageset import ArraySet
from lightning_binding.data.loader import exact_loader, train_loader
from lightning_binding.errors import InputError
from lightning_binding.video.guarded import Undecodable

EXAMPLES, BATCH, EPOCHS = 21, 4, 3


class Numbered(BindingDataModule):
    """Each image is filled with its index, so a model can say what it was fed."""

    class_names = ("only",)

    def train_set(self):
        index = torch.arange(EXAMPLES)
        image = index.to(torch.uint8)[:, None, None, None].expand(-1, 3, 2, 2)
        return ArraySet(image, torch.zeros_like(index), seed=self.seed)

    eval_set = reference_set = train_set


class Numbers(Diary):
    """Writes down the epoch and the examples of each step."""

    def training_step(self, batch, batch_idx):
        self.steps[self.global_step] = (self.current_epoch, batch["image"][:, 0, 0, 0].tolist())
        return self.weight * 0

    def validation_step(self, batch, batch_idx):
        pass


def run(folder, workers, callbacks=(), ckpt_path=None, **options):
    diary = Numbers("image")
    trainer = Trainer(
        max_epochs=EPOCHS, accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False,
        callbacks=list(callbacks), enable_checkpointing=bool(callbacks), default_root_dir=folder,
        num_sanity_val_steps=0, **options,
    )  # fmt: skip
    trainer.fit(diary, Numbered(2, batch_size=BATCH, num_workers=workers, seed=3), ckpt_path=ckpt_path)
    return diary.steps


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize(
    "when",
    [{"every_n_train_steps": 1}, {"every_n_epochs": 1}, {"every_n_epochs": 1, "save_on_train_epoch_end": True}],
    ids=["steps", "validation end", "epoch end"],
)
def test_a_restart_reads_what_the_run_would_have_read(tmp_path, when, workers):
    saver = ModelCheckpoint(tmp_path / "ckpt", filename="{step}", save_top_k=-1, **when)
    whole = run(tmp_path, workers, [saver], val_check_interval=2 if "every_n_train_steps" in when else None)
    assert len(whole) == EPOCHS * (EXAMPLES // BATCH)
    every = 1 + workers if "every_n_train_steps" in when else 1  # workers take a while to start
    for path in sorted((tmp_path / "ckpt").glob("*.ckpt"))[::every]:
        step = int(path.stem.split("=")[1])
        rest = run(tmp_path, workers, ckpt_path=path)
        assert rest == {s: seen for s, seen in whole.items() if s >= step}, path


class Dying(Dataset[Any]):
    """Kills the process that reads it."""

    def __len__(self) -> int:
        return 8

    def __getitems__(self, draws: list[Any]) -> list[Any]:
        os.kill(os.getpid(), signal.SIGKILL)
        return draws


class Refusing(Dying):
    """Has something to say of it instead."""

    def __getitems__(self, draws: list[Any]) -> list[Any]:
        raise Undecodable("clip.mp4 cannot be read.\nGive another: InputError: none.")


def loaders(data: Dataset[Any]) -> list[DataLoader[Any]]:
    """Of training and of evaluation, with a worker each."""
    training = train_loader(data, batch_size=1, num_workers=1, seed=0, trainer=None)
    return [training, exact_loader(data, 1, 1, "examples")]


@pytest.mark.parametrize("which", [0, 1])
def test_a_worker_that_dies_is_named(which: int) -> None:
    with pytest.raises(InputError, match=r"process that reads data died .*go on from the newest checkpoint"):
        list(loaders(Dying())[which])


@pytest.mark.parametrize("which", [0, 1])
def test_a_sentence_of_a_worker_stays_a_sentence(which: int) -> None:
    with pytest.raises(InputError) as found:
        list(loaders(Refusing())[which])
    assert str(found.value) == "clip.mp4 cannot be read.\nGive another: InputError: none."
