"""What is measured of a generative model while it trains."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningDataModule, Trainer
from torch import Tensor
from torch.utils.data import DataLoader

from lightning_binding import InputError
from lightning_binding.callbacks import EMA, GenerationMetrics
from lightning_binding.data import EmojiDataModule
from lightning_binding.metrics import FrechetDistance, TimmExtractor
from lightning_binding.metrics.extractors import Extractor
from lightning_binding.module import BindingModule


class Painter(BindingModule):
    """Draws pictures of one grey for each label, whatever it has learnt; its weight is the step."""

    def __init__(self) -> None:
        super().__init__(optimizer=lambda groups: torch.optim.SGD(groups, lr=1.0))
        self.save_hyperparameters()
        self.network = torch.nn.Linear(1, 1, bias=False)
        self.seen: list[tuple[float, Tensor]] = []

    def trained(self) -> torch.nn.Module:
        return self.network

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return -self.network.weight.sum()

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("val/loss", 0.0)

    def sample(
        self, num: int, *, label: Tensor, steps: int | None, generator: torch.Generator, batch_size: int
    ) -> Tensor:
        self.seen.append((float(self.network.weight.detach()), label))
        noise = torch.randint(40, (num, 3, 32, 32), generator=generator)
        return (noise + 20 * label.view(-1, 1, 1, 1)).to(torch.uint8)


def fit(folder: Path, metrics: GenerationMetrics, *more: Any, steps: int = 4) -> tuple[Painter, Trainer]:
    module = Painter()
    torch.nn.init.zeros_(module.network.weight)
    trainer = Trainer(
        default_root_dir=folder,
        max_steps=steps,
        callbacks=[*more, metrics],
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        val_check_interval=2,
        limit_val_batches=1,
    )
    trainer.fit(module, datamodule=EmojiDataModule(vendors=["twitter"], skin_tones=False, batch_size=64))
    return module, trainer


def test_start_validations_and_end_are_measured_and_logged(tmp_path: Path) -> None:
    metrics = GenerationMetrics(num_samples=40, at_start=True, every_n_steps=2, inception_score=True, kid=True)
    _, trainer = fit(tmp_path, metrics, steps=5)
    assert [step for step, _ in metrics.history] == [0, 2, 4, 5]
    names = {"val/frechet_emoji_resnet", "val/kid_emoji_resnet", "val/inception_score_emoji_resnet"}
    assert all(set(values) == names for _, values in metrics.history)
    for name in names:
        assert trainer.callback_metrics[name] == pytest.approx(metrics.history[-1][1][name])
    first = [values["val/frechet_emoji_resnet"] for _, values in metrics.history]
    assert first == pytest.approx([first[0]] * 4)  # the same seeds draw the same pictures


def test_the_value_is_the_metric_s_on_the_same_pictures(tmp_path: Path) -> None:
    metrics = GenerationMetrics(num_samples=50, batch_size=16)
    fit(tmp_path, metrics, steps=2)
    plain = FrechetDistance(TimmExtractor())
    data = EmojiDataModule(vendors=["twitter"], skin_tones=False)
    for batch in data.reference_dataloader():
        plain.update(batch["image"], real=True)
    module = Painter()
    for start in range(0, 50, 16):
        size = min(16, 50 - start)
        generator = torch.Generator().manual_seed(start)
        label = metrics._draw_labels(start, size)
        plain.update(module.sample(size, label=label, steps=None, generator=generator, batch_size=size), real=False)
    assert metrics.history[-1][1]["val/frechet_emoji_resnet"] == pytest.approx(float(plain.compute()), rel=1e-6)


def test_labels_are_drawn_as_the_training_set_has_them(tmp_path: Path) -> None:
    metrics = GenerationMetrics(num_samples=200, batch_size=64)
    module, _ = fit(tmp_path, metrics, steps=2)
    drawn = torch.cat([label for _, label in module.seen]).bincount(minlength=9) / 200
    assert metrics.labels is not None
    share = metrics.labels.bincount(minlength=9) / len(metrics.labels)
    assert (drawn - share).abs().max() < 0.01


@pytest.mark.parametrize("ema_first", [True, False])
def test_averaged_weights_are_measured_in_any_order_of_callbacks(tmp_path: Path, ema_first: bool) -> None:
    metrics, ema = GenerationMetrics(num_samples=20), EMA(decay=0.5, warmup=False)
    module = Painter()
    torch.nn.init.zeros_(module.network.weight)
    callbacks = [ema, metrics] if ema_first else [metrics, ema]
    trainer = Trainer(
        default_root_dir=tmp_path,
        max_steps=2,
        callbacks=callbacks,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        num_sanity_val_steps=0,
        val_check_interval=2,
    )
    trainer.fit(module, datamodule=EmojiDataModule(vendors=["twitter"], skin_tones=False))
    assert module.seen[0][0] == pytest.approx(0.5 * 0.5 + 0.5 * 2)  # w is 1, then 2; w_ema 0.5, then 1.25


def test_real_statistics_are_kept_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = GenerationMetrics(num_samples=20, cache_dir=str(tmp_path / "cache"))
    fit(tmp_path, first, steps=2)
    assert len(list((tmp_path / "cache").glob("*.sums.safetensors"))) == 1

    monkeypatch.setattr(EmojiDataModule, "reference_dataloader", never)
    second = GenerationMetrics(num_samples=20, cache_dir=str(tmp_path / "cache"))
    fit(tmp_path, second, steps=2)
    assert second.history == first.history
    with pytest.raises(AssertionError, match="read again"):  # KID wants features, which were not kept
        fit(tmp_path, GenerationMetrics(num_samples=20, cache_dir=str(tmp_path / "cache"), kid=True), steps=2)


def never(self: EmojiDataModule) -> DataLoader[Any]:
    raise AssertionError("the real pictures were read again")


def test_validate_measures_a_checkpoint_that_was_measured_before(tmp_path: Path) -> None:
    first = GenerationMetrics(num_samples=20)
    module, trainer = fit(tmp_path, first, steps=2)
    trainer.save_checkpoint(tmp_path / "run.ckpt")
    again = GenerationMetrics(num_samples=20)
    options: dict[str, Any] = {"logger": False, "enable_progress_bar": False, "limit_val_batches": 1}
    trainer = Trainer(default_root_dir=tmp_path, accelerator="cpu", callbacks=[again], **options)
    data = EmojiDataModule(vendors=["twitter"], skin_tones=False)
    values = trainer.validate(module, data, ckpt_path=tmp_path / "run.ckpt", weights_only=True)
    assert values[0]["val/frechet_emoji_resnet"] == pytest.approx(first.history[-1][1]["val/frechet_emoji_resnet"])


def test_a_fast_dev_run_measures_nothing(tmp_path: Path) -> None:
    metrics = GenerationMetrics(num_samples=20, at_start=True)
    trainer = Trainer(default_root_dir=tmp_path, fast_dev_run=1, accelerator="cpu", callbacks=[metrics])
    trainer.fit(Painter(), datamodule=EmojiDataModule(vendors=["twitter"], skin_tones=False))
    assert metrics.history == []


def test_measuring_is_reproducible_and_leaves_the_random_numbers_alone() -> None:
    metrics, module = GenerationMetrics(num_samples=90, kid=True, inception_score=True), Painter()
    values = []
    for seed in range(2):
        torch.manual_seed(seed)
        state = torch.get_rng_state()
        values.append(metrics.measure(_trainer(), module))
        assert torch.equal(torch.get_rng_state(), state)
    assert values[0] == values[1]


def _trainer(rank: int = 0, world: int = 1) -> Any:
    return SimpleNamespace(
        global_rank=rank,
        world_size=world,
        is_global_zero=rank == 0,
        global_step=0,
        callbacks=[],
        datamodule=EmojiDataModule(vendors=["twitter"], skin_tones=False, eval_batch_size=100),
        progress_bar_callback=None,
    )


class Halves(Extractor):
    """The mean colours of both halves of a picture."""

    name = "halves"

    def features_and_logits(self, images: Tensor) -> tuple[Tensor, Tensor]:
        features = images.float().unflatten(3, (2, -1)).mean(dim=(2, 4)).flatten(1)
        return features, features


def test_a_run_can_hold_one_for_each_extractor(tmp_path: Path) -> None:
    metrics = [GenerationMetrics(extractor, num_samples=20) for extractor in (None, Halves())]
    _, trainer = fit(tmp_path, metrics[1], metrics[0], steps=2)
    assert {"val/frechet_emoji_resnet", "val/frechet_halves"} <= set(trainer.callback_metrics)
    trainer.save_checkpoint(tmp_path / "run.ckpt")
    states = torch.load(tmp_path / "run.ckpt", weights_only=True)["callbacks"]
    assert [states[each.state_key]["history"] for each in metrics] == [each.history for each in metrics]


def _rank(rank: int, world: int, cache: str | None = None, size: int = 16) -> list[float]:
    return _measure(rank, world, cache, size)


def _measure(rank: int, world: int, cache: str | None = None, size: int = 16) -> list[float]:
    metrics = GenerationMetrics(num_samples=90, batch_size=size, kid=True, inception_score=True, cache_dir=cache)
    torch.manual_seed(0)
    return list(metrics.measure(_trainer(rank, world), Painter()).values())


def test_two_processes_measure_what_one_does(gloo: Any) -> None:
    expected = _measure(0, 1)
    for values in gloo(_rank):
        assert values[0] == pytest.approx(expected[0], rel=1e-6)
        assert values[1] == pytest.approx(expected[1], rel=0.5)  # random subsets of features in another order
        assert values[2] == pytest.approx(expected[2], rel=0.2)  # random splits likewise


@pytest.mark.parametrize("size", [30, 90])
def test_a_process_with_fewer_batches_or_none_takes_part(gloo: Any, size: int) -> None:
    expected = _measure(0, 1, size=size)
    for values in gloo(_rank, None, size):
        assert values[0] == pytest.approx(expected[0], rel=1e-6)
        assert values[1:] == pytest.approx(expected[1:], rel=0.5)


def test_two_processes_keep_what_one_reads(gloo: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = _measure(0, 1)
    two = gloo(_rank, str(tmp_path))
    assert two[0] == two[1]
    assert len(list(tmp_path.glob("*.features-*-of-2.safetensors"))) == 2
    assert gloo(_rank, str(tmp_path)) == two  # each reads its share
    monkeypatch.setattr(EmojiDataModule, "reference_dataloader", never)
    one = _measure(0, 1, str(tmp_path))
    assert one[0] == pytest.approx(expected[0], rel=1e-9)
    assert one[1:] == expected[1:]  # the features are in the same order
    next(tmp_path.glob("*.features-1-of-2.safetensors")).unlink()
    with pytest.raises(AssertionError, match="read again"):
        _measure(0, 1, str(tmp_path))


def test_what_cannot_be_measured(tmp_path: Path) -> None:
    class Bare(LightningDataModule):
        def train_dataloader(self) -> DataLoader[Any]:
            return DataLoader([torch.zeros(1)])  # type: ignore[arg-type]

    trainer = Trainer(
        default_root_dir=tmp_path,
        max_steps=1,
        callbacks=[GenerationMetrics(num_samples=4)],
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
    )
    with pytest.raises(InputError, match="reference_dataloader"):
        trainer.fit(Painter(), datamodule=Bare())
    with pytest.raises(InputError, match="num_samples=1"):
        GenerationMetrics(num_samples=1)
