"""Fréchet distance, Inception score and KID of pictures or clips that a generative model draws while it trains."""

import warnings
from pathlib import Path
from typing import Any, Protocol, cast

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchmetrics.image.inception import InceptionScore
from torchmetrics.image.kid import KernelInceptionDistance

from lightning_binding.callbacks.measurement import Measurement, progress
from lightning_binding.callbacks.real_statistics import RealStatistics
from lightning_binding.errors import InputError
from lightning_binding.metrics.extractors import Extractor, TimmExtractor
from lightning_binding.metrics.frechet import FrechetDistance
from lightning_binding.metrics.frechet_video import FrechetVideoDistance
from lightning_binding.metrics.video_extractors import VideoExtractor
from lightning_binding.metrics.video_protocols import VideoProtocol


class Reference(Protocol):
    """A data module that gives the real side."""

    def reference_dataloader(self) -> DataLoader[Any]:
        """Training samples as they are, each once over all ranks."""

    def cache_key(self) -> str:
        """A name for them."""


class GenerationMetrics(Measurement):
    """Compares pictures or clips that the model draws with the training set, at every validation.

    Logs `val/fid` with the standard extractor of pictures and `val/frechet_<name>` with any other, which is no FID;
    `val/fvd` and `val/fvd_<name>` with one of clips; likewise the Inception score and KID. Labels are drawn as the
    training set has them. Samples are split over the ranks without padding, and each is drawn from a seed of its own
    batch, so the numbers do not depend on the number of ranks. The averaged weights are used where there is an `EMA`
    callback. Nothing is measured in a `fast_dev_run`.

    Clips are compared with the data module's `reference_dataloader` where it has one, and else with those of
    validation. For clips that are predicted from context there is `VideoPredictionMetrics`.

    Args:
        extractor: `Inception` for FID, a `TimmExtractor`, `I3D` for FVD, or `MotionExtractor`; None is the embedded
            classifier of emoji.
        num_samples: Pictures or clips drawn for each measurement; papers use 50,000.
        batch_size: Pictures or clips drawn at a time.
        steps: Sampling steps; None takes the module's.
        every_n_steps: Optimizer steps between two measurements at least; None measures at every validation.
        at_start: Measure the untrained model too, before the first step.
        at_end: Measure the last step, if the last validation did not.
        inception_score: Also the Inception score, from the extractor's logits.
        kid: Also the kernel distance; it keeps all features in memory, 8 KB a picture with Inception's.
        cache_dir: Folder in which statistics of the real pictures are kept, by the data and the extractor's weights;
            None has them again in every run.
        seed: Seed of labels and noise.
        protocol: Of clips: name in `metrics.PROTOCOLS`, or a `VideoProtocol`, which clips are held to.
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
        protocol: VideoProtocol | str | None = None,
    ) -> None:
        super().__init__(every_n_steps, at_start, at_end, seed)
        if num_samples < 2 or batch_size < 1:
            raise InputError(f"num_samples={num_samples} must be 2 or more, batch_size={batch_size} positive.")
        self.extractor = extractor or TimmExtractor()
        self.num_samples, self.batch_size, self.steps = num_samples, batch_size, steps
        self.cache_dir = Path(cache_dir).expanduser() if cache_dir else None
        self.video = isinstance(self.extractor, VideoExtractor)
        self.frechet: FrechetDistance | FrechetVideoDistance = (
            FrechetVideoDistance(self.extractor, protocol, reset_real_features=False)
            if self.video
            else FrechetDistance(self.extractor, reset_real_features=False)
        )
        self.labels: Tensor | None = None
        self._seen_real = False
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that features are kept is said above
            subset = min(1000, num_samples)
            self.kid = (
                KernelInceptionDistance(nn.Identity(), subset_size=subset, reset_real_features=False) if kid else None
            )
            self.inception_score = InceptionScore(nn.Identity()) if inception_score else None

    def evaluate(self, trainer: Trainer, pl_module: LightningModule) -> tuple[dict[str, float], str]:
        """Draws the samples and computes every metric.

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
        self._see_real(trainer, pl_module)
        torch.default_generator.manual_seed(self.seed)  # KID draws subsets and the Inception score splits from it
        for start, size in progress(trainer, mine, "drawing for metrics"):
            generator = torch.Generator(pl_module.device).manual_seed(self.seed * 1_000_003 + start)
            label = None if self.labels is None else self._draw_labels(start, size)
            samples = cast(Any, pl_module).sample(
                size, label=label, steps=self.steps, generator=generator, batch_size=size
            )
            self._add(samples, real=False)
        if not mine:  # fewer batches than ranks: features of nothing, which can be gathered all the same
            shape = (cast(VideoExtractor, self.extractor).min_frames, 3, 32, 32) if self.video else (3, 32, 32)
            blank = torch.zeros(1, *shape, dtype=torch.uint8, device=pl_module.device)
            self._add(blank, real=False, rows=slice(0))
        self._join()
        how = f"{self.num_samples:,} samples, {self.steps or 'the default'} sampling steps"
        if isinstance(self.frechet, FrechetVideoDistance):
            values = {f"val/{self.frechet.key}": float(self.frechet.compute())}
            how = f"{how}, {self.frechet.describe()}"
        else:
            values = {self._key("fid", "frechet"): float(self.frechet.compute())}
        if self.kid is not None:
            values[self._key("kid", "kid")] = float(self.kid.compute()[0])
        if self.inception_score is not None:
            values[self._key("inception_score", "inception_score")] = float(self.inception_score.compute()[0])
        for metric in metrics:
            metric.reset()
        return values, how

    @property
    def state_key(self) -> str:
        """Of the extractor, so that a run can hold one of these for each."""
        return self._generate_state_key(extractor=self.extractor.name)

    def _key(self, standard: str, other: str) -> str:
        return f"val/{standard}" if self.extractor.name is None else f"val/{other}_{self.extractor.name}"

    def _add(self, samples: Tensor, real: bool, rows: slice = slice(None)) -> None:
        if isinstance(self.frechet, FrechetVideoDistance) and rows == slice(None):
            self.frechet.check(samples)
        features, logits = (values[rows] for values in self.extractor.features_and_logits(samples))
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
        if self.video:
            loader = getattr(data, "reference_dataloader", getattr(data, "val_dataloader", None))
        else:
            loader = getattr(data, "reference_dataloader", None)
        if loader is None:
            raise InputError(
                "GenerationMetrics compares with the training set as a data module gives it: fit with a data module "
                "that has a `reference_dataloader`, as those of lightning_binding.data."
            )
        kept = self._kept(trainer, cast(Reference, data))
        if kept is not None and kept.complete(self.kid is not None):
            self.labels = kept.load(self.frechet, self.kid)
            return
        labels = []
        for batch in progress(trainer, loader(), "real samples for metrics"):
            samples = cast(Any, pl_module).clips(batch["video"]) if self.video else batch["image"]
            self._add(samples.to(pl_module.device), real=True)
            if "label" in batch:
                labels.append(batch["label"].reshape(-1))
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
