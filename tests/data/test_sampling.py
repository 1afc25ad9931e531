"""Which rank reads what: exactly once in evaluation, reproducibly in training, and untouched by Lightning."""

import os
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.trainer.connectors.data_connector import _DataConnector
from torch.utils.data import DataLoader, RandomSampler

from lightning_binding import InputError
from lightning_binding.data import EmojiDataModule
from lightning_binding.data.sampling import ExactSampler, TrainSampler

sizes, worlds = st.integers(0, 200), st.integers(1, 7)


@given(n=sizes, world=worlds)
def test_evaluation_is_split_as_tensor_split(n, world):
    parts = [list(ExactSampler(range(n), world, rank)) for rank in range(world)]
    assert parts == [part.tolist() for part in torch.arange(n).tensor_split(world)]
    assert [len(ExactSampler(range(n), world, rank)) for rank in range(world)] == [len(part) for part in parts]


@given(n=st.integers(7, 200), world=worlds, seed=st.integers(0, 2**31), epoch=st.integers(0, 1000))
def test_training_shards_share_one_order(n, world, seed, epoch):
    parts = []
    for rank in range(world):
        sampler = TrainSampler(range(n), world, rank, seed)
        sampler.set_epoch(epoch)
        parts.append(list(sampler))
        assert list(sampler) == parts[-1]
    assert {len(part) for part in parts} == {n // world}
    drawn = [index for part in parts for index, _ in part]
    assert len(set(drawn)) == len(drawn) == n // world * world
    assert {e for part in parts for _, e in part} == {epoch}


@given(n=st.integers(2, 100), seen=st.integers(0, 100), epoch=st.integers(0, 5))
def test_a_resumed_epoch_lacks_what_was_seen_and_the_next_is_whole(n, seen, epoch):
    whole, resumed = (TrainSampler(range(n), 1, 0, seed=5) for _ in range(2))
    resumed.resume(epoch, seen)
    whole.set_epoch(epoch)
    assert list(resumed) == list(whole)[seen:]
    for sampler in (whole, resumed):
        sampler.set_epoch(epoch + 1)
    assert list(resumed) == list(whole)


def test_another_seed_in_the_middle_of_an_epoch_is_refused():
    state = TrainSampler(range(8), 1, 0, seed=1).state()
    other = TrainSampler(range(8), 1, 0, seed=2)
    with pytest.raises(InputError, match=r"order of data\.seed=1; that of data\.seed=2 is another"):
        other.resume(0, 3, state)
    other.resume(1, 0, state)  # an epoch's end fits all
    other.resume(0, 3, {})  # a checkpoint of before says nothing of it
    TrainSampler(range(8), 1, 0, seed=1).resume(0, 3, state)


def test_orders_differ_between_epochs_and_seeds():
    def order(seed, epoch):
        sampler = TrainSampler(range(50), 1, 0, seed)
        sampler.set_epoch(epoch)
        return [index for index, _ in sampler]

    orders = [order(seed, epoch) for seed in range(3) for epoch in range(3)]
    # torch adds the seed and the epoch, so nine pairs give five orders
    assert len({tuple(o) for o in orders}) == 5


def test_lightning_leaves_our_samplers_alone_and_would_replace_others():
    connector = _DataConnector.__new__(_DataConnector)
    connector.trainer = SimpleNamespace(
        _accelerator_connector=SimpleNamespace(use_distributed_sampler=True, is_distributed=True)
    )
    data = EmojiDataModule(image_size=8, skin_tones=False)
    for loader in (data.train_dataloader(), data.val_dataloader(), data.test_dataloader(), data.reference_dataloader()):
        assert not connector._requires_distributed_sampler(loader)
    assert connector._requires_distributed_sampler(DataLoader(range(3), sampler=RandomSampler(range(3))))


class Recorder(LightningModule):
    """Writes the sums of the images that a rank saw, which tell them apart, to a file of that rank."""

    def __init__(self, folder):
        super().__init__()
        self.folder = folder
        self.weight = torch.nn.Parameter(torch.zeros(()))

    def note(self, stage, batch):
        with open(os.path.join(self.folder, f"{stage}{self.global_rank}"), "a") as file:
            file.writelines(f"{image.double().sum():.0f}\n" for image in batch["image"])

    def training_step(self, batch, batch_idx):
        self.note("train", batch)
        return self.weight * 0

    def validation_step(self, batch, batch_idx):
        self.note("val", batch)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


@pytest.mark.filterwarnings("ignore")
def test_two_ranks_of_a_trainer_see_each_held_out_image_once(tmp_path):
    data = EmojiDataModule(image_size=8, batch_size=100, skin_tones=False, vendors=["google"])
    trainer = Trainer(
        accelerator="cpu", devices=2, strategy="ddp_fork", max_epochs=1, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0,
    )  # fmt: skip
    trainer.fit(Recorder(str(tmp_path)), data)
    seen = {name.name: name.read_text().split() for name in tmp_path.iterdir()}
    expected = [f"{image.double().sum():.0f}" for b in data.val_dataloader() for image in b["image"]]
    assert seen["val0"] + seen["val1"] == expected
    assert len(seen["val0"]) - len(seen["val1"]) in (0, 1)
    half = len(data.train_set()) // 2 // 100 * 100
    assert len(seen["train0"]) == len(seen["train1"]) == half


def test_fewer_images_than_ranks_is_an_error(monkeypatch):
    monkeypatch.setattr("lightning_binding.data.loader.replicas", lambda: (1000, 0))
    with pytest.raises(InputError, match=r"cannot be split over 1000 ranks; evaluate with fewer devices"):
        EmojiDataModule(image_size=8).val_dataloader()
