"""PSNR and SSIM of frames: closed forms."""

import math

import pytest
import torch

from lightning_binding.metrics import FrameQuality
from lightning_binding.metrics.frame_quality import PSNR_MAX


def test_psnr_is_the_mean_over_frames_and_equal_frames_count_as_rounded_ones() -> None:
    truth = torch.full((1, 3, 3, 16, 16), 100, dtype=torch.uint8)
    frames = truth + torch.tensor([0, 1, 10], dtype=torch.uint8).view(1, 3, 1, 1, 1)
    quality = FrameQuality()
    quality.update(frames, truth)
    expected = [PSNR_MAX, 20 * math.log10(255), 20 * math.log10(25.5)]
    assert pytest.approx(58.92, abs=0.01) == PSNR_MAX
    assert float(quality.compute()["psnr"]) == pytest.approx(sum(expected) / 3, abs=1e-4)


def test_ssim_is_one_for_equals_and_falls_with_noise() -> None:
    generator = torch.Generator().manual_seed(0)
    truth = torch.randint(256, (2, 4, 3, 16, 16), generator=generator).to(torch.uint8)
    values = []
    for strength in (0, 20, 80):
        noise = strength * torch.randn(truth.shape, generator=generator)
        quality = FrameQuality()
        quality.update((truth.float() + noise).clamp(0, 255).to(torch.uint8), truth)
        values.append(float(quality.compute()["ssim"]))
    assert values[0] == pytest.approx(1, abs=1e-5)
    assert values[0] > values[1] > values[2] > 0


def test_batches_do_not_matter() -> None:
    generator = torch.Generator().manual_seed(0)
    truth, frames = (torch.randint(256, (6, 2, 3, 16, 16), generator=generator).to(torch.uint8) for _ in range(2))
    whole, parts = FrameQuality(), FrameQuality()
    whole.update(frames, truth)
    for pair in zip(frames.split([1, 3, 2]), truth.split([1, 3, 2]), strict=True):
        parts.update(*pair)
    for key, value in whole.compute().items():
        assert float(value) == pytest.approx(float(parts.compute()[key]), rel=1e-5)
