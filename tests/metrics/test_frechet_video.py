"""The Fréchet video distance: against stacked features, in any split, over processes, and held to its protocol."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lightning_binding import InputError
from lightning_binding.metrics import PROTOCOLS, FrechetVideoDistance, VideoProtocol, frechet_distance


class Pooled(nn.Module):
    """A fixed random extractor: uint8 clips to 20 features, in float64 so that the size of a batch changes nothing."""

    min_frames = 3

    def forward(self, videos: Tensor) -> Tensor:
        weight = torch.randn(20, videos[0].numel(), generator=torch.Generator().manual_seed(0)).double() / 10
        return torch.tanh(videos.double().flatten(1) / 127.5 - 1) @ weight.T


def clips(count: int, seed: int, shift: int = 0, frames: int = 4, size: int = 6) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (torch.randint(200, (count, frames, 3, size, size), generator=generator) + shift).to(torch.uint8)


REAL, FAKE = clips(120, 0), clips(90, 1, shift=20)


def measured(metric: FrechetVideoDistance, size: int = 32) -> float:
    for side, real in ((REAL, True), (FAKE, False)):
        for batch in side.split(size):
            metric.update(batch, real=real)
    return float(metric.compute())


@pytest.mark.parametrize("unbiased", [True, False])
@pytest.mark.parametrize("size", [1, 7, 120])
def test_a_stream_gives_what_stacked_features_do(unbiased: bool, size: int) -> None:
    stacked = [Pooled()(side) for side in (REAL, FAKE)]
    gaussians = [part for each in stacked for part in (each.mean(dim=0), each.T.cov(correction=int(unbiased)))]
    metric = FrechetVideoDistance(Pooled(), VideoProtocol(unbiased=unbiased))
    assert measured(metric, size) == pytest.approx(float(frechet_distance(*gaussians)), abs=1e-8)


def test_dividing_by_n_is_another_number() -> None:
    numbers = [measured(FrechetVideoDistance(Pooled(), VideoProtocol(unbiased=unbiased))) for unbiased in (True, False)]
    assert abs(numbers[0] - numbers[1]) > 1e-3


def test_equal_sets_are_at_distance_zero_and_the_order_of_frames_counts() -> None:
    metric = FrechetVideoDistance(Pooled())
    metric.update(REAL, real=True)
    metric.update(REAL, real=False)
    assert float(metric.compute()) == pytest.approx(0, abs=1e-8)
    metric = FrechetVideoDistance(Pooled())
    metric.update(REAL, real=True)
    metric.update(REAL.flip(1), real=False)
    assert float(metric.compute()) > 0.01


def _rank(rank: int, world: int) -> tuple[float, str]:
    metric = FrechetVideoDistance(Pooled())
    metric.update(REAL[:119] if rank == 0 else REAL[119:], real=True)
    if rank == 0:  # the second process has nothing on this side
        metric.update(FAKE, real=False)
    return float(metric.compute()), metric.describe()


def test_uneven_processes_give_the_same_as_one(gloo: Any) -> None:
    expected = measured(FrechetVideoDistance(Pooled()))
    for value, line in gloo(_rank):
        assert value == pytest.approx(expected, abs=1e-8)
        assert "90 generated against 120 real clips" in line


def test_the_protocol_is_said_with_the_number() -> None:
    metric = FrechetVideoDistance(Pooled(), "sprites")
    metric.update(clips(5, 0, frames=16, size=32), real=True)
    line = metric.describe()
    assert line.startswith("fvd_pooled: features of Pooled; protocol sprites (16 frames (2 of them given), 32 px")
    assert line.endswith("covariance by N - 1); here 0 generated against 5 real clips")
    metric = FrechetVideoDistance(Pooled(), "stylegan_v")
    assert "covariance by N)" in metric.describe()
    assert "0 generated (not the protocol's 2,048) against" in metric.describe()


def test_the_published_protocols() -> None:
    numbers = {
        name: (p.context_frames, p.frames, p.resolution, p.clips, p.repeats, p.unbiased)
        for name, p in PROTOCOLS.items()
    }
    assert numbers["kinetics600"] == (5, 16, 64, 50_000, 4, True)
    assert numbers["bair"] == numbers["bair_debiased"] == (1, 16, 64, 25_600, 4, True)
    assert numbers["ucf101"] == (0, 16, 128, 10_000, 4, True)
    assert numbers["stylegan_v"] == (0, 16, None, 2048, 1, False)
    assert PROTOCOLS["bair"].real != PROTOCOLS["bair_debiased"].real


class Named(Pooled):
    """The same under a name."""

    def __init__(self, name: str | None) -> None:
        super().__init__()
        self.name = name


def test_keys_name_the_extractor_unless_it_is_the_standard_one() -> None:
    assert FrechetVideoDistance(Pooled()).key == "fvd_pooled"
    assert FrechetVideoDistance(Named("flow")).key == "fvd_flow"
    assert FrechetVideoDistance(Named(None)).key == "fvd"


def test_clips_that_do_not_fit() -> None:
    metric = FrechetVideoDistance(Pooled(), "sprites")
    with pytest.raises(InputError, match="clip of 2 frames is too short for Pooled, which needs 3"):
        metric.update(clips(2, 0, frames=2), real=True)
    with pytest.raises(InputError, match=r"has 8 frames, but the protocol compares 16 \(2 of them given\)"):
        metric.update(clips(2, 0, frames=8, size=32), real=True)
    with pytest.raises(InputError, match="64 x 64 pixels, but the protocol compares 32 x 32"):
        metric.update(clips(2, 0, frames=16, size=64), real=True)
    with pytest.raises(InputError, match=r"expected \(B, T, 3, H, W\)"):
        metric.update(clips(2, 0)[0], real=True)
    with pytest.raises(InputError, match=r"there is no 'kinetics60'.*kinetics600"):
        FrechetVideoDistance(Pooled(), "kinetics60")
