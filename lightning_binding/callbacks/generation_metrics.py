"""Fréchet distance, Inception score and KID of what a generative model draws while it trains."""

import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol, cast

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchmetrics.image.inception import InceptionScore
from torchmetrics.image.kid import KernelInceptionDistance
from tqdm import tqdm

from lightning_binding.callbacks.ema import averaged_weights
from lightning_binding.callbacks.real_statistics import RealStatistics
from lightning_binding.errors import InputError
from lightning_binding.metrics.extractors import Extractor, TimmExtractor
from lightning_binding.metrics.frechet import FrechetDistance


class Reference(Protocol):
    """A data module that gives the real side."""

    def reference_dataloader(self) -> DataLoader[Any]:
        """Training pictures as they are, each once over all ranks."""

    def cache_key(self) -> str:
        """A name for them."""


class GenerationMetrics(Callback):
    """Compares pictures that the model draws with the training set, at every validation.

    Logs `val/fid` with the standard extractor and `val/frechet_<name>` with any other, which is no FID; likewise the
    Inception score and KID. Labels are drawn as the training set has them. Pictures are split over the ranks without
    padding, and each is drawn from a seed of its own batch, so the numbers do not depend on the number of ranks. The
    averaged weights are used where there is an `EMA` callback. Nothing is measured in a `fast_dev_run`.

    Args:
        extractor: `Inception` for FID, or a `TimmExtractor`; None is the embedded classifier of emoji.
        num_samples: Pictures drawn for each measurement; papers use 50,000.
        batch_size: Pictures drawn at a time.
        steps: Sampling steps; None takes the module's.
        every_n_steps: Optimizer steps between two measurements at least; None measures at every validation.
        at_start: Measure the untrained model too, before the first step.
        at_end: Measure the last step, if the last validation did not.
        inception_score: Also the Inception score, from the extractor's logits.
        kid: Also the kernel distance; it keeps all features in memory, 8 KB a picture with Inception's.
        cache_dir: Folder in which statistics of the real pictures are kept, by the data and the extractor's weights;
            None has them again in every run.
        seed: Seed of labels and noise.
    """

    def __init__(
        self,
        extractor: Extractor | None = None,
        num_samples: int = 50_000,
        batch_size: int = 64,
        steps: int | None = None,
        every_n_steps: int | None = None,
        at_start: bool = False,
        at_end: bool = True,
        inception_score: bool = False,
        kid: bool = False,
        cache_dir: str | None = None,
        seed: int = 0,
    ) -> None:
        if num_samples < 2 or batch_size < 1:
            raise InputError(f"num_samples={num_samples} must be 2 or more, batch_size={batch_size} positive.")
        self.extractor = extractor or TimmExtractor()
        self.num_samples, self.batch_size, self.steps = num_samples, batch_size, steps
        self.every_n_steps, self.seed = every_n_steps, seed
        self.at_start, self.at_end = at_start, at_end
        self.cache_dir = Path(cache_dir).expanduser() if cache_dir else None
        self.frechet = FrechetDistance(self.extractor, reset_real_features=False)
        self.labels: Tensor | None = None
        self._seen_real = False
        self.history: list[tuple[int, dict[str, float]]] = []
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that features are kept is said above
            subset = min(1000, num_samples)
            self.kid = (
                KernelInceptionDistance(nn.Identity(), subset_size=subset, reset_real_features=False) if kid else None
            )
            self.inception_score = InceptionScore(nn.Identity()) if inception_score else None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measures the model that training starts from."""
        if self.at_start and trainer.global_step == 0 and not trainer.fast_dev_run:  # type: ignore[attr-defined]
            self._publish(trainer, pl_module, self.measure(trainer, pl_module))

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measures at a validation, and logs under it so that a `ModelCheckpoint` can watch; `validate` always does."""
        last = self.history[-1][0] if self.history else None
        alone = trainer.state.fn == TrainerFn.VALIDATING
        due = alone or last is None or trainer.global_step - last >= (self.every_n_steps or 1)
        if trainer.sanity_checking or trainer.fast_dev_run or not due:  # type: ignore[attr-defined]
            return
        values = self.measure(trainer, pl_module)
        pl_module.log_dict(values)
        self._publish(trainer, pl_module, values)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measures the last step."""
        measured = self.history and self.history[-1][0] == trainer.global_step
        if self.at_end and not measured and not trainer.fast_dev_run:  # type: ignore[attr-defined]
            self._publish(trainer, pl_module, self.measure(trainer, pl_module))

    @torch.no_grad()
    def measure(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, float]:
        """Draws the pictures and computes every metric.

        Raises:
            InputError: If the data module has no `reference_dataloader`.
        """
        metrics = [metric for metric in (self.frechet, self.kid, self.inception_score) if metric is not None]
        for metric in metrics:
            metric.to(pl_module.device)
        batches = [
            (start, min(self.batch_size, self.num_samples - start))
            for start in range(0, self.num_samples, self.batch_size)
        ]
        mine = batches[trainer.global_rank :: trainer.world_size]
        with averaged_weights(trainer, pl_module) as averaged, torch.random.fork_rng(devices=[]):
            self._see_real(trainer, pl_module)
            torch.default_generator.manual_seed(self.seed)  # KID draws subsets and the Inception score splits from it
            for start, size in _bar(trainer, mine, "drawing for metrics"):
                generator = torch.Generator(pl_module.device).manual_seed(self.seed * 1_000_003 + start)
                label = None if self.labels is None else self._draw_labels(start, size)
                pictures = cast(Any, pl_module).sample(
                    size, label=label, steps=self.steps, generator=generator, batch_size=size
                )
                self._add(pictures, real=False)
            if not mine:  # fewer batches than ranks: features of nothing, which can be gathered all the same
                blank = torch.zeros(1, 3, 32, 32, dtype=torch.uint8, device=pl_module.device)
                self._add(blank, real=False, rows=slice(0))
            self._join()
            values = {self._key("fid", "frechet"): float(self.frechet.compute())}
            if self.kid is not None:
                values[self._key("kid", "kid")] = float(self.kid.compute()[0])
            if self.inception_score is not None:
                values[self._key("inception_score", "inception_score")] = float(self.inception_score.compute()[0])
        for metric in metrics:
            metric.reset()
        shown = ", ".join(f"{key} {value:.4g}" for key, value in values.items())
        rank_zero_info(
            f"Step {trainer.global_step}: {shown} ({self.num_samples:,} samples, "
            f"{self.steps or 'the default'} sampling steps, {'averaged' if averaged else 'raw'} weights)."
        )
        return values

    @property
    def state_key(self) -> str:
        """Of the extractor, so that a run can hold one of these for each."""
        return self._generate_state_key(extractor=self.extractor.name)

    def state_dict(self) -> dict[str, Any]:
        """The history goes on when a run does."""
        return {"history": self.history}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes the history up again."""
        self.history = [(step, dict(values)) for step, values in state_dict["history"]]

    def _key(self, standard: str, other: str) -> str:
        return f"val/{standard}" if self.extractor.name is None else f"val/{other}_{self.extractor.name}"

    def _publish(self, trainer: Trainer, pl_module: LightningModule, values: dict[str, float]) -> None:
        self.history.append((trainer.global_step, values))
        trainer.callback_metrics.update({key: torch.tensor(value) for key, value in values.items()})
        if not trainer.validating:
            for logger in trainer.loggers:
                logger.log_metrics(values, trainer.global_step)

    def _add(self, pictures: Tensor, real: bool, rows: slice = slice(None)) -> None:
        features, logits = (values[rows] for values in self.extractor.features_and_logits(pictures))
        self.frechet.update_features(features, real)
        if self.kid is not None:
            self.kid.update(features, real)
        if self.inception_score is not None and not real:
            self.inception_score.update(logits)

    def _see_real(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._seen_real:
            return
        self._seen_real = True
        data = getattr(trainer, "datamodule", None)
        if not hasattr(data, "reference_dataloader"):
            raise InputError(
                "GenerationMetrics compares with the training set as a data module gives it: fit with a data module "
                "that has a `reference_dataloader`, as those of lightning_binding.data."
            )
        kept = self._kept(trainer, cast(Reference, data))
        if kept is not None and kept.complete(self.kid is not None):
            self.labels = kept.load(self.frechet, self.kid)
            return
        labels = []
        for batch in _bar(trainer, cast(Reference, data).reference_dataloader(), "real pictures for metrics"):
            self._add(batch["image"].to(pl_module.device), real=True)
            labels.append(batch["label"])
        self.labels = torch.cat(labels) if labels else None
        self._join()
        if trainer.world_size > 1 and self.labels is not None:
            gathered: list[Any] = [None] * trainer.world_size
            torch.distributed.all_gather_object(gathered, self.labels)
            self.labels = torch.cat(gathered)
        if self.labels is not None:
            self.labels = self.labels.sort().values
        if kept is not None:
            kept.save(self.frechet, self.kid, self.labels)

    def _join(self) -> None:
        """Makes one piece of the features of all batches: ranks gather piece by piece, and have not as many batches."""
        for metric, names in ((self.kid, ("real_features", "fake_features")), (self.inception_score, ("features",))):
            for name in names if metric is not None else ():
                pieces = getattr(metric, name)
                setattr(metric, name, [torch.cat(pieces)] if pieces else [])

    def _kept(self, trainer: Trainer, data: Reference) -> RealStatistics | None:
        if self.cache_dir is None or not hasattr(data, "cache_key"):
            return None
        key = f"{data.cache_key()}-{self.extractor.protocol}"
        return RealStatistics(self.cache_dir, key, trainer.global_rank, trainer.world_size)

    def _draw_labels(self, start: int, size: int) -> Tensor:
        """Labels of pictures start, …: evenly through the sorted labels of the training set, in random order."""
        assert self.labels is not None
        order = torch.randperm(self.num_samples, generator=torch.Generator().manual_seed(self.seed))
        places = (order[start : start + size].double() + 0.5) / self.num_samples * len(self.labels)
        return self.labels[places.long()]


def _bar(trainer: Trainer, items: Iterable[Any], what: str) -> Iterable[Any]:
    """The items, with a progress bar where the trainer shows its own."""
    visible = trainer.is_global_zero and trainer.progress_bar_callback is not None
    return tqdm(items, desc=what, disable=not visible, leave=False)
