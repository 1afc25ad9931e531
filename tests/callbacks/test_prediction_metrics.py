"""What is measured of predicted videos, beside copying."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer
from torch import Tensor

from lightning_binding import InputError
from lightning_binding.callbacks import GenerationMetrics, VideoPredictionMetrics
from lightning_binding.data import MovingSpritesDataModule
from lightning_binding.metrics import FrameQuality, FrechetVideoDistance, MotionExtractor, VideoProtocol
from lightning_binding.module import BindingModule


class Guesser(BindingModule):
    """Predicts the last given frame with noise on it."""

    def __init__(self, noise: int = 20, context_frames: int = 2, frames: int = 8) -> None:
        super().__init__(optimizer=lambda groups: torch.optim.SGD(groups, lr=1.0))
        self.save_hyperparameters()
        self.network = torch.nn.Linear(1, 1, bias=False)
        self.noise, self.context_frames, self.frames = noise, context_frames, frames

    def trained(self) -> torch.nn.Module:
        return self.network

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return self.network.weight.sum()

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("val/loss", 0.0)

    def clips(self, video: Tensor) -> Tensor:
        video = video[None] if video.ndim == 4 else video
        if video.shape[1] < self.frames:
            raise InputError(f"clips of {video.shape[1]} frames are too short.")
        return video[:, : self.frames]

    def predict_video(
        self, context: Tensor, *, frames: int, steps: int | None, generator: torch.Generator, batch_size: int
    ) -> Tensor:
        still = context[:, -1:].expand(-1, frames, -1, -1, -1).float()
        noise = self.noise * torch.randn(still.shape, generator=generator)
        return (still + noise).round().clamp(0, 255).to(torch.uint8)

    def sample(
        self, num: int, *, label: Tensor | None, steps: int | None, generator: torch.Generator, batch_size: int
    ) -> Tensor:
        return torch.randint(256, (num, self.frames, 3, 32, 32), generator=generator).to(torch.uint8)


def data(sequences: int = 12, frames: int = 8) -> MovingSpritesDataModule:
    return MovingSpritesDataModule(frame_size=32, eval_sequences=sequences, eval_frames=frames, frames=frames)


def _trainer(rank: int = 0, world: int = 1, sequences: int = 12) -> Any:
    return SimpleNamespace(
        global_rank=rank,
        world_size=world,
        is_global_zero=rank == 0,
        global_step=0,
        callbacks=[],
        datamodule=data(sequences),
        progress_bar_callback=None,
    )


KEY = "fvd_emoji_resnet_motion"
NAMES = {f"val/{side}{name}" for side in ("", "copy_") for name in (KEY, "psnr", "ssim")}


def test_copying_and_a_model_that_copies_are_equal() -> None:
    values = VideoPredictionMetrics(batch_size=5).measure(_trainer(), Guesser(noise=0))
    assert set(values) == NAMES
    for name in (KEY, "psnr", "ssim"):
        assert values[f"val/{name}"] == pytest.approx(values[f"val/copy_{name}"], rel=1e-9)


def test_the_values_are_the_metrics_on_the_same_clips() -> None:
    values = VideoPredictionMetrics(batch_size=32).measure(_trainer(), Guesser())
    real = torch.stack([sequence["video"] for sequence in data().eval_set()])  # type: ignore[attr-defined]
    generator = torch.Generator().manual_seed(0)
    drawn = Guesser().predict_video(real[:, :2], frames=6, steps=None, generator=generator, batch_size=32)
    distance, quality = FrechetVideoDistance(MotionExtractor()), FrameQuality()
    distance.update(real, real=True)
    distance.update(torch.cat([real[:, :2], drawn], dim=1), real=False)
    quality.update(drawn, real[:, 2:])
    assert values[f"val/{KEY}"] == pytest.approx(float(distance.compute()), rel=1e-6)
    for name, value in quality.compute().items():
        assert values[f"val/{name}"] == pytest.approx(float(value), rel=1e-5)
    assert values["val/psnr"] < values["val/copy_psnr"]


def test_repeats_have_other_noise_and_a_deviation() -> None:
    values = VideoPredictionMetrics(repeats=3, predictions=2, num_clips=5).measure(_trainer(), Guesser())
    assert set(values) == NAMES | {f"val/{name}_std" for name in (KEY, "psnr", "ssim")}
    assert 0 < values["val/psnr_std"] < 0.1 * values["val/psnr"]


def test_measuring_again_gives_the_same() -> None:
    metrics = VideoPredictionMetrics(num_clips=7, batch_size=3)
    assert metrics.measure(_trainer(), Guesser()) == metrics.measure(_trainer(), Guesser())


def test_a_fit_logs_them_with_the_protocol(tmp_path: Path, told: list[str]) -> None:
    metrics = VideoPredictionMetrics(protocol=VideoProtocol(frames=8, context_frames=2, resolution=32, clips=12))
    trainer = Trainer(
        default_root_dir=tmp_path,
        max_steps=1,
        callbacks=[metrics],
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(Guesser(), datamodule=data())
    assert [step for step, _ in metrics.history] == [1]
    assert set(trainer.callback_metrics) >= NAMES
    line = next(line for line in told if line.startswith("Step 1"))
    assert "8 frames (2 of them given), 32 px, 12 generated clips" in line
    assert "here 12 generated against 12 real clips" in line


def _rank(rank: int, world: int, num_clips: int | None) -> dict[str, float]:
    return VideoPredictionMetrics(num_clips=num_clips).measure(_trainer(rank, world), Guesser(noise=0))


@pytest.mark.parametrize("num_clips", [None, 1])
def test_two_processes_measure_what_one_does(gloo: Any, num_clips: int | None) -> None:
    if num_clips == 1:  # the second rank has none; a distance needs two clips, so both ranks say so together
        with pytest.raises(InputError, match="one side has 1"):
            gloo(_rank, num_clips)
        return
    expected = VideoPredictionMetrics().measure(_trainer(), Guesser(noise=0))
    for values in gloo(_rank, num_clips):
        assert values == pytest.approx(expected, rel=1e-5)


def test_whole_clips_from_noise_are_compared_by_the_same_loop_as_pictures() -> None:
    metrics = GenerationMetrics(MotionExtractor(), num_samples=10, batch_size=4)
    module = Guesser(context_frames=0)
    values = metrics.measure(_trainer(), module)
    distance = FrechetVideoDistance(MotionExtractor())
    for sequence in data().eval_set():  # type: ignore[attr-defined]
        distance.update(sequence["video"][None], real=True)
    for start, size in ((0, 4), (4, 4), (8, 2)):
        generator = torch.Generator().manual_seed(start)
        clips = module.sample(size, label=None, steps=None, generator=generator, batch_size=size)
        distance.update(clips, real=False)
    assert values == {f"val/{KEY}": pytest.approx(float(distance.compute()), rel=1e-6)}


def test_what_cannot_be_measured() -> None:
    with pytest.raises(InputError, match="model that predicts clips from context"):
        VideoPredictionMetrics().measure(_trainer(), Guesser(context_frames=0))
    with pytest.raises(InputError, match="too short"):
        VideoPredictionMetrics().measure(_trainer(), Guesser(frames=9))
    with pytest.raises(InputError, match="has 8 frames, but the protocol compares 16"):
        VideoPredictionMetrics(protocol="sprites").measure(_trainer(), Guesser())
    with pytest.raises(InputError, match="predictions=0"):
        VideoPredictionMetrics(predictions=0)
