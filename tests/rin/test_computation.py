"""Where computation goes: closed forms of the measures, and what a run of the sampler leaves."""

import pytest
import torch
from scipy.stats import spearmanr

from lightning_binding.rin.computation import (
    compressed_size,
    error_by_complexity,
    gradient_energy,
    moving_tokens,
    rank_correlation,
    share_of,
    trace,
)
from lightning_binding.rin.module import RINDiffusion
from lightning_binding.rin.sampling import Sampling
from lightning_binding.rin.tokens import Patches

PATCHES = Patches(1, 4, 3)


def half_noise() -> torch.Tensor:
    """A picture of 8 x 8 whose left half is grey and whose right half is noise."""
    video = torch.full((1, 1, 3, 8, 8), 100, dtype=torch.uint8)
    video[..., 4:] = torch.randint(256, (1, 1, 3, 8, 4), dtype=torch.uint8)
    return video


@pytest.mark.parametrize("measure", [gradient_energy, compressed_size])
def test_noise_is_more_complex_than_grey(measure: object) -> None:
    sizes = measure(half_noise(), PATCHES)  # type: ignore[operator]
    assert sizes.shape == (1, 4)
    assert (sizes[0, [1, 3]] > 2 * sizes[0, [0, 2]] + 0.01).all()


def test_gradient_of_a_ramp() -> None:
    """A ramp of 10 grey levels a pixel: its square in each patch, but for the last column, which has no neighbour."""
    ramp = (10 * torch.arange(8, dtype=torch.uint8)).expand(1, 1, 3, 8, 8)
    expected = (10 / 255) ** 2
    energy = gradient_energy(ramp, PATCHES)[0]
    assert energy.tolist() == pytest.approx([expected, expected * 3 / 4] * 2, rel=1e-5)


def test_spearman_s_correlation() -> None:
    a, b = torch.randn(5, 20), torch.randint(4, (5, 20)).float()
    expected = [spearmanr(one.numpy(), two.numpy()).statistic for one, two in zip(a, b, strict=True)]
    assert rank_correlation(a, b).tolist() == pytest.approx(expected, abs=1e-9)
    assert rank_correlation(a, torch.ones(20)).tolist() == [0] * 5


def test_moving_and_still_tokens() -> None:
    video = torch.zeros(1, 3, 3, 8, 8, dtype=torch.uint8)
    video[0, 2, :, :4, 4:] = 200  # the second patch of the last frame
    moving = moving_tokens(video, PATCHES)
    assert moving.tolist() == [[False] * 4 + [False, True, False, False]]
    read = torch.full((1, 8), 0.1)
    read[0, 5] = 0.3
    assert share_of(read, moving).item() == pytest.approx(0.3 * 8)
    assert share_of(read, ~moving).item() == pytest.approx(0.8)


def test_error_in_parts_of_complexity() -> None:
    complexity = torch.tensor([[3.0, 1.0], [2.0, 4.0]])
    error = torch.tensor([[30.0, 10.0], [20.0, 40.0]])
    assert error_by_complexity(error, complexity, 2).tolist() == [15, 35]


@pytest.mark.parametrize("guidance", [0.0, 1.0])
def test_the_trace_of_a_run(guidance: float) -> None:
    torch.manual_seed(0)
    module = RINDiffusion("rin_tiny", sampling=Sampling(steps=3, guidance=guidance)).eval()
    noise = torch.randn(2, 3, 8, 8)
    label = torch.tensor([0, 1])
    found = trace(module.network, module.diffusion, module.sampling, noise, label, steps=3)  # type: ignore[arg-type]
    assert found.x_0.shape == (3, 2, 3, 8, 8)
    assert found.read.shape == (3, 2, 2, 16)
    assert torch.allclose(found.read.sum(-1), torch.ones(3, 2, 2))
    assert found.strongest.shape == (3, 2, 2, 16)
    assert int(found.strongest.max()) < 8
    assert ((found.certainty > 0) & (found.certainty <= 1)).all()
    drawn = module.sampling(module.network, module.diffusion, noise, label)
    assert torch.equal(found.x_0[-1], drawn)
