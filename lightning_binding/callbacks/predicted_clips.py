"""Predicted clips beside what happened, while a model of video trains."""

from pathlib import Path
from typing import Any, cast

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from lightning_binding.callbacks.ema import averaged_weights
from lightning_binding.errors import InputError
from lightning_binding.images import make_grid, save_png
from lightning_binding.video.writer import write_video


class PredictedClips(Callback):
    """Predicts the same held-out clips at every validation; draws what happened above, the prediction below.

    `predictions/step-00001000.png` is a strip of frames, those that were given first, and `step-00001000.gif` the same
    moving. A model that draws whole clips from noise has no rows of what happened. Without validation data nothing is
    drawn. The averaged weights are used where there is an `EMA` callback.

    Args:
        num: Clips.
        frames: Frames of a strip at most, at even distances.
        steps: Sampling steps; None takes the module's.
        seed: Seed of the noise, the same at every validation.
        scale: Every pixel becomes a square of this side.
        fps: Frames a second of the animation.

    Raises:
        InputError: If a number is not positive.
    """

    def __init__(
        self, num: int = 4, frames: int = 16, steps: int | None = None, seed: int = 0, scale: int = 2, fps: float = 8.0
    ) -> None:
        if min(num, frames, scale) < 1 or fps <= 0:
            raise InputError(f"num={num}, frames={frames}, scale={scale} and fps={fps} must be positive.")
        self.num, self.frames, self.steps = num, frames, steps
        self.seed, self.scale, self.fps = seed, scale, fps
        self._clips: list[Tensor] = []
        self._folder = Path()

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Asks for the run's folder, which Lightning tells all ranks together."""
        self._folder = Path(trainer.log_dir or trainer.default_root_dir) / "predictions"

    def on_validation_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Keeps the first clips, on the CPU."""
        missing = self.num - len(self._clips)
        if trainer.is_global_zero and missing > 0:
            self._clips += list(cast(Any, pl_module).clips(batch["video"])[:missing].cpu())

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Predicts and draws them."""
        silent = trainer.sanity_checking or trainer.fast_dev_run  # type: ignore[attr-defined]
        if silent:
            return
        given = int(cast(Any, pl_module).context_frames)
        generator = torch.Generator(pl_module.device).manual_seed(self.seed)
        with averaged_weights(trainer, pl_module), torch.random.fork_rng(devices=[]):
            if not self._clips:  # the first rank has them
                return
            clips = torch.stack(self._clips)
            drawn = cast(Any, pl_module).sample(
                len(clips), context=clips[:, :given] if given else None, steps=self.steps, generator=generator
            )
        drawn = torch.cat([clips[:, :given], drawn.cpu()], 1)
        rows = torch.stack([clips, drawn], 1).flatten(0, 1) if given else drawn  # (rows, T, C, H, W)
        name = f"step-{trainer.global_step:08d}"
        columns = torch.linspace(0, rows.shape[1] - 1, min(self.frames, rows.shape[1])).round().long()
        strip = rows[:, columns]
        save_png(make_grid(strip.flatten(0, 1), len(columns)), self._folder / f"{name}.png", self.scale)
        large = rows.repeat_interleave(self.scale, -1).repeat_interleave(self.scale, -2)
        grids = (make_grid(frame, 2 if given else None) for frame in large.unbind(1))
        write_video(self._folder / f"{name}.gif", grids, self.fps)
