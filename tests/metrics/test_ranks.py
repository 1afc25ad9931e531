"""Every metric over one, two and three processes: each example counts once, whoever has it, and nobody waits for ever.

Seven examples are dealt to three processes as 3, 2 and 2, and two as 1, 1 and none. To 1e-9, but for PSNR and SSIM,
whose sums are in float32.
"""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from gloo_pool import GlooPool
from torch import Tensor, nn

from lightning_binding.data.sampling import ExactSampler
from lightning_binding.metrics import (
    FrameQuality,
    FrechetDistance,
    FrechetVideoDistance,
    JaccardBoundary,
    KeypointAccuracy,
    MaskIoU,
)


class Pooled(nn.Module):
    """A fixed random extractor: pictures or clips to four features, in float64."""

    min_frames = 2

    def forward(self, images: Tensor) -> Tensor:
        rows = images.double().flatten(1) / 127.5 - 1
        return torch.tanh(rows @ torch.randn(rows.shape[1], 4, generator=torch.Generator().manual_seed(0)).double() / 9)


def drawn(index: int, *shape: int, high: int = 256) -> tuple[Tensor, Tensor]:
    """What is compared of one example: a pair of tensors, uint8."""
    source = torch.Generator().manual_seed(index)
    first, second = (torch.randint(high, shape, generator=source, dtype=torch.uint8) for _ in range(2))
    return first, second


def both_sides(metric: Any, index: int, *shape: int) -> None:
    for side, real in zip(drawn(index, 6, *shape), (True, False), strict=True):
        metric.update(side, real=real)


def joints(metric: Any, index: int) -> None:
    first, second = drawn(index, 2 + index % 3, 15, 2)
    metric.update(first.double(), second.double())


# Of each metric: one that is new, and how one example goes in.
METRICS: dict[str, tuple[Callable[[], Any], Callable[[Any, int], None]]] = {
    "J&F": (JaccardBoundary, lambda metric, index: metric.update(*drawn(index, 3, 9 + index, 12, high=3), f"{index}")),
    "PCK": (KeypointAccuracy, joints),
    "mIoU": (lambda: MaskIoU(4), lambda metric, index: metric.update(*drawn(index, 2, 5, 6, high=4))),
    "PSNR and SSIM": (FrameQuality, lambda metric, index: metric.update(*drawn(index, 1, 2, 3, 16, 16))),
    "Fréchet": (lambda: FrechetDistance(Pooled()), lambda metric, index: both_sides(metric, index, 3, 8, 8)),
    "video Fréchet": (
        lambda: FrechetVideoDistance(Pooled()),
        lambda metric, index: both_sides(metric, index, 2, 3, 4, 4),
    ),
}


def measure(rank: int, world: int, name: str, examples: int) -> dict[str, float]:
    """The metric, after this rank's share of the examples."""
    new, feed = METRICS[name]
    metric = new()
    for index in ExactSampler(range(examples), world, rank):  # type: ignore[arg-type]
        feed(metric, index)
    found = metric.compute()
    return {key: float(value) for key, value in (found if isinstance(found, dict) else {name: found}).items()}


@pytest.fixture(scope="module")
def three() -> Iterator[GlooPool]:
    pool = GlooPool(3)
    yield pool
    pool.close()


@pytest.mark.parametrize("name", METRICS)
def test_any_number_of_ranks_gives_what_one_does(gloo: GlooPool, three: GlooPool, name: str) -> None:
    values = []
    for examples in (7, 2):
        expected = measure(0, 1, name, examples)
        values.append(expected)
        for found in (*gloo(measure, name, examples), *three(measure, name, examples)):
            assert found == pytest.approx(expected, rel=1e-9, abs=1e-6 if name == "PSNR and SSIM" else 0)
    assert values[0] != pytest.approx(values[1], rel=1e-3)  # each example has a say
