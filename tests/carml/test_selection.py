"""The number of components: found where it is known, and scores as defined."""

import math

import numpy as np
import pytest
import torch
from sklearn.mixture import GaussianMixture as SklearnMixture
from torch import Tensor

from lightning_binding import InputError
from lightning_binding.carml.covariance import Covariance, DiagonalCovariance, FullCovariance, SphericalCovariance
from lightning_binding.carml.em import fit_mixture
from lightning_binding.carml.selection import bic, choose_components


def four_clusters() -> Tensor:
    noise = torch.randn(160, 6, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    centres = torch.tensor([[3.0, 3.0], [3.0, -3.0], [-3.0, 3.0], [-3.0, -3.0]]).double()
    return centres[torch.arange(160) % 4].unsqueeze(1) + noise


@pytest.mark.parametrize("held_out", [None, 0.25])
def test_the_true_number_is_found(held_out: float | None) -> None:
    options = {"restarts": 3, "generator": torch.Generator().manual_seed(1)}
    choice = choose_components(four_clusters(), [1, 2, 4, 12], held_out=held_out, **options)
    assert max(choice.scores, key=choice.scores.__getitem__) == 4
    assert choice.fit.mixture.components == 4
    assert choice.fit.responsibilities.shape == (160, 4)


@pytest.mark.parametrize(
    ("covariance", "name"),
    [(FullCovariance(), "full"), (DiagonalCovariance(), "diag"), (SphericalCovariance(), "spherical")],
)
def test_bic_is_scikit_learns(covariance: Covariance, name: str) -> None:
    states = torch.randn(300, 1, 3, dtype=torch.float64)
    other = SklearnMixture(3, covariance_type=name, random_state=0, reg_covar=1e-12).fit(states[:, 0].numpy())
    ours = fit_mixture(states, 3, covariance=covariance)
    free = (other.bic(states[:, 0].numpy()) + 2 * 300 * other.score(states[:, 0].numpy())) / math.log(300)
    assert bic(ours, covariance, 300) == pytest.approx(free * math.log(300) - 600 * ours.objective[-1])
    assert np.isclose(free, round(free))


def test_wrong_input() -> None:
    with pytest.raises(InputError, match="candidates is empty"):
        choose_components(four_clusters(), [])
    with pytest.raises(InputError, match="into none and all"):
        choose_components(four_clusters(), [2], held_out=0.001)
