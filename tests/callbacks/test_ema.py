"""The exponential moving average: its formula, what uses it, and that it survives a checkpoint."""

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import nn
from torch.utils.data import DataLoader

from lightning_binding import InputError
from lightning_binding.callbacks import EMA, averaged_weights
from lightning_binding.module import BindingModule


class Drift(BindingModule):
    """A module whose network's weight grows by 1 a step, with an integer buffer and a part that is not averaged."""

    def __init__(self) -> None:
        super().__init__(optimizer=lambda groups: torch.optim.SGD(groups, lr=1.0))
        self.save_hyperparameters()
        self.network = nn.Linear(1, 1, bias=False)
        nn.init.zeros_(self.network.weight)
        self.network.register_buffer("steps", torch.zeros((), dtype=torch.long))
        self.other = nn.Parameter(torch.zeros(1), requires_grad=False)

    def trained(self) -> nn.Module:
        return self.network

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        self.network.steps += 1  # type: ignore[operator]
        self.other += 1
        return -self.network.weight.sum()

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("val/weight", self.network.weight.sum())
        self.log("val/other", self.other.sum())

    @property
    def weight(self) -> float:
        return float(self.network.weight.detach())


class Look(Callback):
    """Keeps the weight that a callback sees."""

    def __init__(self) -> None:
        self.seen: dict[str, float] = {}

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        assert isinstance(pl_module, Drift)
        self.seen["raw"] = pl_module.weight
        with averaged_weights(trainer, pl_module) as averaged:
            self.seen["averaged"] = pl_module.weight
            with averaged_weights(trainer, pl_module) as again:
                assert again
                assert pl_module.weight == self.seen["averaged"]
        assert averaged
        assert pl_module.weight == self.seen["raw"]


def fit(folder: Path, ema: EMA, steps: int = 4, ckpt_path: str | None = None, **options: Any) -> tuple[Drift, Trainer]:
    module = Drift()
    trainer = Trainer(
        default_root_dir=folder,
        max_steps=steps,
        callbacks=[ema, *options.pop("callbacks", [])],
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        **options,
    )
    loader = DataLoader([torch.zeros(1)] * 2)  # type: ignore[arg-type]
    trainer.fit(module, loader, loader, ckpt_path=ckpt_path, weights_only=True)
    return module, trainer


def closed_form(decay: float, steps: int) -> float:
    average = 0.0
    for weight in range(1, steps + 1):
        average = decay * average + (1 - decay) * weight
    return average


def test_the_average_is_the_closed_form_and_stays_in_the_module(tmp_path: Path) -> None:
    module, _ = fit(tmp_path, EMA(decay=0.9, warmup=False))
    assert module.weight == pytest.approx(closed_form(0.9, 4))


def test_of_constant_weights_the_initial_share_decays(tmp_path: Path) -> None:
    ema = EMA(decay=0.9999, warmup=False)
    averaged, current = [torch.tensor(5.0)], [torch.tensor(2.0)]
    for step in range(100):
        ema._average(averaged, current, step + 1)
    assert float(averaged[0]) == pytest.approx(2 + 0.9999**100 * (5 - 2), rel=1e-6)


def test_warm_up_follows_its_formula(tmp_path: Path) -> None:
    module, _ = fit(tmp_path, EMA(decay=0.9999, warmup=True))
    average = 0.0
    for n, weight in enumerate(range(1, 5), start=1):
        decay = min(0.9999, (1 + n) / (10 + n))
        average = decay * average + (1 - decay) * weight
    assert module.weight == pytest.approx(average)


def test_validation_sees_the_average_of_the_network_alone(tmp_path: Path) -> None:
    look = Look()
    _, trainer = fit(tmp_path, EMA(decay=0.9, warmup=False), steps=2, callbacks=[look])
    assert trainer.callback_metrics["val/weight"] == pytest.approx(closed_form(0.9, 2))
    assert trainer.callback_metrics["val/other"] == 2
    assert look.seen == {"raw": 2.0, "averaged": pytest.approx(closed_form(0.9, 2))}


def test_a_checkpoint_holds_the_average_and_the_raw_weights(tmp_path: Path) -> None:
    class Save(Callback):
        def on_train_batch_end(self, trainer: Trainer, *arguments: Any) -> None:
            if trainer.global_step == 3:
                trainer.save_checkpoint(tmp_path / "three.ckpt")

    fit(tmp_path, EMA(decay=0.9, warmup=False), callbacks=[Save()])
    checkpoint = torch.load(tmp_path / "three.ckpt", weights_only=True)
    assert checkpoint["state_dict"]["network.weight"].item() == pytest.approx(closed_form(0.9, 3))
    assert checkpoint["state_dict"]["network.steps"] == 3
    assert checkpoint["state_dict"]["other"] == 3
    assert checkpoint["current_model_state"]["network.weight"] == 3
    loaded = Drift.from_checkpoint(tmp_path / "three.ckpt")
    assert loaded.weight == pytest.approx(closed_form(0.9, 3))


def test_a_run_goes_on_as_if_it_had_not_stopped(tmp_path: Path) -> None:
    class Save(Callback):
        def on_train_batch_end(self, trainer: Trainer, *arguments: Any) -> None:
            if trainer.global_step == 3:
                trainer.save_checkpoint(tmp_path / "three.ckpt")

    whole, _ = fit(tmp_path, EMA(decay=0.9), steps=6, callbacks=[Save()])
    resumed, trainer = fit(tmp_path, EMA(decay=0.9), steps=6, ckpt_path=str(tmp_path / "three.ckpt"))
    assert trainer.global_step == 6
    assert resumed.weight == pytest.approx(whole.weight)


def test_a_late_start_uses_the_raw_weights_until_then(tmp_path: Path) -> None:
    _, trainer = fit(tmp_path, EMA(decay=0.9, warmup=False, start_step=2), steps=2)
    assert trainer.callback_metrics["val/weight"] == 2
    module, _ = fit(tmp_path, EMA(decay=0.9, warmup=False, start_step=2), steps=4)
    assert module.weight == pytest.approx(0.9 * 3 + 0.1 * 4)
    module, _ = fit(tmp_path, EMA(decay=0.9, warmup=False, start_step=99), steps=4)
    assert module.weight == 4  # never begun: the trained weights stay


def test_integers_are_copied_and_not_averaged(tmp_path: Path) -> None:
    module, _ = fit(tmp_path, EMA(decay=0.9))
    assert module.network.steps == 4
    assert module.network.steps.dtype == torch.long


def test_it_says_what_it_does(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        fit(tmp_path, EMA(decay=0.9))
    assert "use the averaged weights (decay 0.9" in caplog.text


@pytest.mark.parametrize("options", [{"decay": 1.0}, {"decay": -0.1}, {"start_step": -1}])
def test_values_out_of_range(options: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        EMA(**options)


def test_evaluation_of_a_checkpoint_knows_that_its_weights_are_averaged(tmp_path: Path) -> None:
    seen: list[bool] = []

    class Look(Callback):
        def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
            with averaged_weights(trainer, pl_module) as averaged:
                seen.append(averaged)

    module = Drift()
    data = DataLoader([torch.zeros(1)] * 3)  # type: ignore[arg-type]
    options: dict[str, Any] = {"accelerator": "cpu", "logger": False, "enable_progress_bar": False}
    trainer = Trainer(max_steps=3, callbacks=[EMA(0.5)], limit_val_batches=0, default_root_dir=tmp_path, **options)
    trainer.fit(module, data)
    trainer.save_checkpoint(tmp_path / "averaged.ckpt")
    for path in (tmp_path / "averaged.ckpt", None):
        evaluation = Trainer(callbacks=[EMA(0.5), Look()], enable_checkpointing=False, **options)
        evaluation.validate(Drift(), data, ckpt_path=path, verbose=False)
    assert seen == [True, False]
