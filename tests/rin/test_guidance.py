from typing import Any

import pytest
import torch
from torch import Tensor

from lightning_binding.errors import InputError
from lightning_binding.rin.objectives import X0
from lightning_binding.rin.samplers import SAMPLERS, Denoiser, Sampler, ddim, guided
from lightning_binding.rin.schedules import cosine, linear

CONDITIONAL_LATENTS, UNCONDITIONAL_LATENTS = torch.ones(3, 2), -torch.ones(3, 2)


class Branch:
    """A denoiser that counts its calls and remembers the latents that it was given."""

    def __init__(self, factor: float, latents: Tensor) -> None:
        self.factor, self.latents = factor, latents
        self.gammas: list[float] = []
        self.given: list[Tensor | None] = []

    def __call__(self, x: Tensor, gamma: Tensor, latents: Tensor | None) -> tuple[Tensor, Tensor]:
        self.gammas.append(gamma[0].item())
        self.given.append(latents)
        return self.factor * x.cos(), self.latents


def branches() -> tuple[Branch, Branch]:
    return Branch(0.7, CONDITIONAL_LATENTS), Branch(-0.4, UNCONDITIONAL_LATENTS)


X, GAMMA = torch.linspace(-1, 1, 12).view(3, 4), torch.full((3,), 0.5)


@pytest.mark.parametrize("scale", [-1.0, 0.0, 0.5, 1.5, 7.0])
def test_mixture_of_the_branches(scale: float) -> None:
    conditional, unconditional = branches()
    prediction, latents = guided(conditional, unconditional, scale)(X, GAMMA, None)
    torch.testing.assert_close(prediction, ((1 + scale) * 0.7 - scale * -0.4) * X.cos())
    assert latents is CONDITIONAL_LATENTS


def test_scale_0_is_the_conditional_branch_alone_and_minus_1_the_unconditional() -> None:
    conditional, unconditional = branches()
    assert torch.equal(guided(conditional, unconditional, 0.0)(X, GAMMA, None)[0], conditional(X, GAMMA, None)[0])
    assert unconditional.gammas == []
    assert torch.equal(guided(conditional, unconditional, -1.0)(X, GAMMA, None)[0], unconditional(X, GAMMA, None)[0])


def test_both_branches_get_the_latents_of_the_conditional_one() -> None:
    conditional, unconditional = branches()
    ddim(guided(conditional, unconditional, 2.0), torch.randn(3, 4), steps=4, schedule=cosine)
    for branch in (conditional, unconditional):
        assert branch.given[0] is None
        assert all(latents is CONDITIONAL_LATENTS for latents in branch.given[1:])


def test_outside_of_the_interval_the_unconditional_branch_rests() -> None:
    conditional, unconditional = branches()
    denoise = guided(conditional, unconditional, 2.0, interval=(0.3, 0.61))
    ddim(denoise, torch.randn(3, 4), steps=10, schedule=linear)  # gamma = 0, 0.1, …, 0.9
    assert len(conditional.gammas) == 10
    assert unconditional.gammas == pytest.approx([0.3, 0.4, 0.5, 0.6], abs=1e-6)
    assert denoise(X, torch.full((3,), 0.9), None)[1] is CONDITIONAL_LATENTS


def test_interval_is_closed_and_holds_for_each_example() -> None:
    conditional, unconditional = branches()
    gamma = torch.tensor([0.25, 0.75, 0.8])
    prediction, _ = guided(conditional, unconditional, 1.0, interval=(0.25, 0.75))(X, gamma, None)
    expected = torch.stack([1.8 * X[0].cos(), 1.8 * X[1].cos(), 0.7 * X[2].cos()])
    torch.testing.assert_close(prediction, expected)


@pytest.mark.parametrize("sampler", SAMPLERS.values(), ids=SAMPLERS.keys())
def test_guiding_gaussians_of_one_variance_moves_the_mean(sampler: Sampler) -> None:
    """(1 + w) N(1, s²) - w N(0, s²) is the score of N(1 + w, s²): guidance must sample from that, exactly alike."""

    def gaussian(mean: float) -> Denoiser:
        def denoise(x: Tensor, gamma: Tensor, latents: Tensor | None) -> tuple[Tensor, None]:
            signal, gamma = gamma.sqrt()[:, None], gamma[:, None]
            return mean + signal * 0.04 / (gamma * 0.04 + 1 - gamma) * (x - signal * mean), None

        return denoise

    def sample(denoise: Denoiser) -> Tensor:
        generator = torch.Generator().manual_seed(1)
        noise = torch.randn(16, 2, generator=generator, dtype=torch.float64)
        return sampler(denoise, noise, steps=8, schedule=cosine, objective=X0(), clip=None, generator=generator)

    torch.testing.assert_close(sample(guided(gaussian(1.0), gaussian(0.0), 1.5)), sample(gaussian(2.5)))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"scale": float("nan")}, "scale=nan"),
        ({"interval": (0.6, 0.4)}, r"interval=\(0.6, 0.4\)"),
        ({"interval": (0.0, 5.0)}, "it is in gamma"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any], words: str) -> None:
    conditional, unconditional = branches()
    arguments: dict[str, Any] = {"scale": 1.0} | options
    with pytest.raises(InputError, match=words):
        guided(conditional, unconditional, **arguments)
