"""How well a model predicts the held-out clips from their first frames, beside copying the last of these."""

from collections.abc import Iterator
from typing import Any, cast

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor, nn

from lightning_binding.callbacks.measurement import Measurement, progress
from lightning_binding.errors import InputError
from lightning_binding.metrics.frame_quality import FrameQuality
from lightning_binding.metrics.frechet_video import FrechetVideoDistance
from lightning_binding.metrics.video_extractors import MotionExtractor
from lightning_binding.metrics.video_protocols import VideoProtocol


class VideoPredictionMetrics(Measurement):
    """Predicts the clips of validation from their first frames and compares them with what happened.

    Logs PSNR and SSIM of the predicted frames, `val/psnr` and `val/ssim`, and the Fréchet distance of whole clips, the
    given frames included as papers have it: `val/fvd`, or `val/fvd_<name>` with another extractor than I3D. The same
    for copying the last given frame stands beside them as `val/copy_psnr` and so on: what a model has to beat. The
    protocol is printed with every number.

    Ranks predict their own share of the clips. The averaged weights are used where there is an `EMA` callback. Nothing
    is measured in a `fast_dev_run`.

    Args:
        extractor: Module from clips to features: `I3D` for FVD; None is the embedded `MotionExtractor`.
        protocol: Name in `metrics.PROTOCOLS`, or a `VideoProtocol`, which clips are held to; None takes any.
        num_clips: Held-out clips that are predicted, over all ranks; None is all.
        predictions: Predictions of each clip.
        repeats: Measurements with other noise, of which `val/…` is the mean and `val/…_std` the deviation.
        batch_size: Clips predicted at a time.
        steps: Sampling steps; None takes the module's.
        every_n_steps: Optimizer steps between two measurements at least; None measures at every validation.
        at_start: Measure the untrained model too, before the first step.
        at_end: Measure the last step, if the last validation did not.
        seed: Seed of the noise.

    Raises:
        InputError: If a number is not positive, or there is no such protocol.
    """

    def __init__(
        self,
        extractor: nn.Module | None = None,
        protocol: VideoProtocol | str | None = None,
        num_clips: int | None = None,
        predictions: int = 1,
        repeats: int = 1,
        batch_size: int = 16,
        steps: int | None = None,
        every_n_steps: int | None = None,
        at_start: bool = False,
        at_end: bool = True,
        seed: int = 0,
    ) -> None:
        super().__init__(every_n_steps, at_start, at_end, seed)
        numbers = {"num_clips": num_clips, "predictions": predictions, "repeats": repeats, "batch_size": batch_size}
        for name, number in numbers.items():
            if number is not None and number < 1:
                raise InputError(f"{name}={number} must be 1 or more.")
        self.num_clips, self.predictions, self.repeats = num_clips, predictions, repeats
        self.batch_size, self.steps = batch_size, steps
        extractor = extractor or MotionExtractor()
        self.predicted = FrechetVideoDistance(extractor, protocol, reset_real_features=False)
        self.copied = FrechetVideoDistance(extractor, protocol, reset_real_features=False)
        self.quality = FrameQuality()
        self._copying: dict[str, float] = {}  # of copying, which every measurement has alike

    @property
    def state_key(self) -> str:
        """Of the extractor, so that a run can hold one of these for each."""
        return self._generate_state_key(extractor=self.predicted.key)

    def evaluate(self, trainer: Trainer, pl_module: LightningModule) -> tuple[dict[str, float], str]:
        """Predicts the clips, `repeats` times.

        Raises:
            InputError: If the module predicts no video, or the data has no clips to validate on.
        """
        if not getattr(pl_module, "context_frames", 0) or not hasattr(pl_module, "predict_video"):
            raise InputError(
                "VideoPredictionMetrics is for a model that predicts clips from context: train one with "
                "context_frames, or take GenerationMetrics with an extractor of clips."
            )
        for metric in (self.predicted, self.copied, self.quality):
            metric.to(pl_module.device)
        if not self._copying:
            self._copying = self._copy(trainer, pl_module)
        numbers, how = [], ""
        for repeat in range(self.repeats):
            numbers.append(self._predict(trainer, pl_module, repeat))
            how = self.predicted.describe()
            self.predicted.reset()
        table = torch.tensor([list(each.values()) for each in numbers], dtype=torch.float64)
        values = dict(zip(numbers[0], table.mean(dim=0).tolist(), strict=True))
        if self.repeats > 1:
            deviations = table.std(dim=0).tolist()
            values |= {f"{key}_std": value for key, value in zip(numbers[0], deviations, strict=True)}
        shown = {f"val/{key}": value for key, value in values.items()}
        shown |= {f"val/copy_{key}": value for key, value in self._copying.items()}
        return shown, f"{self.steps or 'the default'} sampling steps, {how}"

    def _copy(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, float]:
        """Scores copying the last given frame, and sees the real clips on the way."""
        given = cast(Any, pl_module).context_frames
        for clips in self._clips(trainer, pl_module, "copying for metrics"):
            still = clips[:, given - 1 : given].expand(-1, clips.shape[1] - given, -1, -1, -1)
            self.quality.update(still, clips[:, given:])
            self.copied.update(clips, real=True)
            self.copied.update(torch.cat([clips[:, :given], still], dim=1), real=False)
        self.predicted.take_real(self.copied)
        return self._numbers(self.copied)

    def _predict(self, trainer: Trainer, pl_module: LightningModule, repeat: int) -> dict[str, float]:
        """Scores the model, with noise of its own in every repeat."""
        module: Any = pl_module
        given = module.context_frames
        for index, clips in enumerate(self._clips(trainer, pl_module, "predicting for metrics")):
            clips = clips.repeat_interleave(self.predictions, dim=0)
            place = (repeat * trainer.world_size + trainer.global_rank) * 1_000_003 + index
            generator = torch.Generator(pl_module.device).manual_seed(self.seed * 1_000_000_007 + place)
            drawn = module.predict_video(
                clips[:, :given],
                frames=clips.shape[1] - given,
                steps=self.steps,
                generator=generator,
                batch_size=self.batch_size,
            )
            self.quality.update(drawn, clips[:, given:])
            self.predicted.update(torch.cat([clips[:, :given], drawn], dim=1), real=False)
        return self._numbers(self.predicted)

    def _numbers(self, distance: FrechetVideoDistance) -> dict[str, float]:
        values = {distance.key: float(distance.compute())}
        values |= {key: float(value) for key, value in self.quality.compute().items()}
        self.quality.reset()
        return values

    def _clips(self, trainer: Trainer, pl_module: LightningModule, what: str) -> Iterator[Tensor]:
        """This rank's held-out clips in batches, uint8 (B, T, C, H, W)."""
        data: Any = getattr(trainer, "datamodule", None)
        if not hasattr(data, "val_dataloader"):
            raise InputError("VideoPredictionMetrics predicts the clips of validation: fit with a data module.")
        left = None
        if self.num_clips is not None:
            left = len(torch.arange(self.num_clips).tensor_split(trainer.world_size)[trainer.global_rank])
        waiting: list[Tensor] = []
        for batch in progress(trainer, data.val_dataloader(), what):
            waiting += list(cast(Any, pl_module).clips(batch["video"]))
            if left is not None and len(waiting) >= left:
                waiting = waiting[:left]
                break
            while len(waiting) >= self.batch_size:
                yield torch.stack(waiting[: self.batch_size]).to(pl_module.device)
                waiting = waiting[self.batch_size :]
                left = None if left is None else left - self.batch_size
        for start in range(0, len(waiting), self.batch_size):
            yield torch.stack(waiting[start : start + self.batch_size]).to(pl_module.device)
