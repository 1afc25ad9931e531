"""Mixtures of trajectories: against scikit-learn, against closed forms, and against themselves."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.mixture import GaussianMixture as SklearnMixture
from torch import Tensor

from lightning_binding import InputError
from lightning_binding.carml.covariance import Covariance, DiagonalCovariance, FullCovariance, SphericalCovariance
from lightning_binding.carml.em import fit_mixture, kmeans_assignments
from lightning_binding.carml.mixture import GaussianMixture

FAMILIES = {"full": FullCovariance, "diag": DiagonalCovariance, "spherical": SphericalCovariance}


def clusters(trajectories: int = 60, length: int = 5, width: int = 3, seed: int = 0, apart: float = 4.0) -> Tensor:
    """Trajectories of three clusters, (N, T, d), whose states differ more than the clusters' shapes."""
    generator = torch.Generator().manual_seed(seed)
    centres = apart * torch.randn(3, 1, width, generator=generator, dtype=torch.float64)
    noise = torch.randn(trajectories, length, width, generator=generator, dtype=torch.float64)
    return centres[torch.arange(trajectories) % 3] + noise * torch.linspace(0.3, 1.5, width, dtype=torch.float64)


def dense(scale: Tensor) -> Tensor:
    """Covariances (K, d, d) of a scale."""
    return torch.diag_embed(scale.square()) if scale.ndim == 2 else scale @ scale.transpose(-1, -2)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("iterations", [1, 4])
def test_single_states_as_scikit_learn(family: str, iterations: int) -> None:
    states = clusters(length=1, trajectories=200, apart=1.0)
    means = states[:3, 0].numpy()
    precisions = {"full": np.stack([np.eye(3)] * 3), "diag": np.ones((3, 3)), "spherical": np.ones(3)}[family]
    other = SklearnMixture(
        3, covariance_type=family, reg_covar=0, max_iter=iterations, tol=0, init_params="random",
        weights_init=np.full(3, 1 / 3), means_init=means, precisions_init=precisions,
    )  # fmt: skip
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it has not converged is what is asked for
        other.fit(states[:, 0].numpy())
    scale = torch.eye(3, dtype=torch.float64).expand(3, 3, 3) if family == "full" else torch.ones(3, 3).double()
    start = GaussianMixture(torch.full((3,), -math.log(3), dtype=torch.float64), torch.from_numpy(means), scale)
    options = {"covariance": FAMILIES[family](1e-12), "start": start, "iterations": iterations, "tolerance": -1.0}
    ours = fit_mixture(states, 3, **options)
    torch.testing.assert_close(ours.mixture.means, torch.from_numpy(other.means_))
    torch.testing.assert_close(ours.mixture.log_prior.exp(), torch.from_numpy(other.weights_))
    covariance = {
        "full": lambda: other.covariances_,
        "diag": lambda: np.stack([np.diag(each) for each in other.covariances_]),
        "spherical": lambda: np.stack([each * np.eye(3) for each in other.covariances_]),
    }[family]()
    torch.testing.assert_close(dense(ours.mixture.scale), torch.from_numpy(covariance))
    torch.testing.assert_close(
        ours.mixture.log_likelihood(states[:, 0]), torch.from_numpy(other._estimate_log_prob(states[:, 0].numpy()))
    )
    torch.testing.assert_close(ours.responsibilities, torch.from_numpy(other.predict_proba(states[:, 0].numpy())))
    assert ours.objective[-1] == pytest.approx(other.score(states[:, 0].numpy()), abs=1e-9)


@pytest.mark.parametrize("family", FAMILIES.values())
@pytest.mark.parametrize("mean_over_time", [False, True])
def test_moments_give_what_sums_over_states_give(family: type[Covariance], mean_over_time: bool) -> None:
    states = clusters(apart=1.0) + 100  # far from zero
    fit = fit_mixture(states, 3, covariance=family(), mean_over_time=mean_over_time, iterations=5)
    each = fit.mixture.log_likelihood(states)
    whole = fit.mixture.log_prior + (each.mean(1) if mean_over_time else each.sum(1))
    torch.testing.assert_close(whole.softmax(-1), fit.responsibilities, atol=1e-7, rtol=1e-7)
    assert fit.objective[-1] == pytest.approx(float(whole.logsumexp(-1).mean()), abs=1e-7)


@pytest.mark.parametrize("family", FAMILIES.values())
def test_density_is_that_of_torch(family: type[Covariance]) -> None:
    states = clusters()
    mixture = fit_mixture(states, 3, covariance=family()).mixture
    gaussian = torch.distributions.MultivariateNormal(mixture.means, dense(mixture.scale))
    torch.testing.assert_close(mixture.log_likelihood(states), gaussian.log_prob(states.unsqueeze(-2)))
    volume = torch.logdet(2 * math.pi * dense(mixture.scale)) / 2
    torch.testing.assert_close(mixture.log_volume, volume)


@settings(max_examples=40)
@given(
    seed=st.integers(0, 10**6),
    components=st.integers(1, 6),
    length=st.integers(1, 6),
    family=st.sampled_from(list(FAMILIES.values())),
    mean_over_time=st.booleans(),
    floor=st.sampled_from([1e-4, 0.3]),  # the higher one is above some eigenvalues
)
def test_the_objective_never_falls(
    seed: int, components: int, length: int, family: type[Covariance], mean_over_time: bool, floor: float
) -> None:
    states = clusters(24, length, 2, seed, apart=1.0)
    options = {"mean_over_time": mean_over_time, "least": 0.0, "tolerance": -1.0, "iterations": 25}
    fit = fit_mixture(states, components, covariance=family(floor), **options)
    gains = np.diff(fit.objective)
    assert len(gains) == 25
    assert gains.min() > -1e-8  # P7
    assert fit.reseeded == []


def test_the_free_energy_of_the_mean_rule_is_its_objective() -> None:
    states = clusters(apart=0.5)
    fit = fit_mixture(states, 3, mean_over_time=True, iterations=3)
    gamma = fit.responsibilities
    joint = fit.mixture.log_prior + fit.mixture.log_likelihood(states).mean(1)
    energy = (gamma * joint).sum(-1) - (gamma * gamma.log()).sum(-1)
    assert fit.objective[-1] == pytest.approx(float(energy.mean()), abs=1e-9)


@pytest.mark.parametrize("mean_over_time", [False, True])
def test_order_of_states_and_trajectories_changes_nothing(mean_over_time: bool) -> None:
    states = clusters(apart=1.0)
    start = torch.rand(60, 3, dtype=torch.float64).softmax(-1)
    options = {"mean_over_time": mean_over_time, "iterations": 20}
    first = fit_mixture(states, 3, start=start, **options)
    shuffled = states[:, torch.randperm(5)]
    second = fit_mixture(shuffled, 3, start=start, **options)
    torch.testing.assert_close(second.mixture.means, first.mixture.means)  # P8
    order = torch.tensor([2, 0, 1])
    third = fit_mixture(states, 3, start=start[:, order], **options)
    torch.testing.assert_close(third.mixture.means, first.mixture.reordered(order).means)
    torch.testing.assert_close(third.mixture.log_prior, first.mixture.log_prior[order])


@pytest.mark.parametrize(
    ("length", "told", "sum_entropy", "mean_entropy", "error"),
    [
        (1, 0.33683, 0.35632, 0.35632, 0.15866),
        (5, 0.65873, None, None, None),
        (10, 0.69090, 0.0022, 0.37348, 0.00078),
        (20, 0.69314, None, None, None),
    ],
)
def test_trajectories_tell_more_of_the_task_than_states(
    length: int, told: float, sum_entropy: float | None, mean_entropy: float | None, error: float | None
) -> None:
    """Two tasks at +-1 with unit deviation: I(tau; z), posterior entropies of both rules and errors, as integrals.

    The posterior is a function of the mean state, which is normal: a Gauss-Hermite rule over trajectories that stand
    still at its nodes is exact.
    """
    one = torch.ones(1, dtype=torch.float64)
    mixture = GaussianMixture(-math.log(2) * torch.cat([one, one]), torch.stack([one, -one]), torch.ones(2, 1).double())
    nodes, weights = (torch.from_numpy(each) for each in np.polynomial.hermite_e.hermegauss(160))
    weights = weights / weights.sum()
    states = (1 + nodes / length**0.5)[:, None, None].expand(-1, length, 1)
    each = mixture.log_likelihood(states)
    posterior = (each.sum(1) + mixture.log_prior).log_softmax(-1)
    assert math.log(2) + float((posterior[:, 0] * weights).sum()) == pytest.approx(told, abs=2e-5)
    for rule, entropy in ((each.sum(1), sum_entropy), (each.mean(1), mean_entropy)):
        if entropy is not None and error is not None:
            posterior = (rule + mixture.log_prior).log_softmax(-1)
            left = -(posterior.exp() * posterior).sum(-1)
            assert float((left * weights).sum()) == pytest.approx(entropy, abs=1e-4)
            fine = torch.linspace(-9, 9, 200_001, dtype=torch.float64)
            still = (1 + fine / length**0.5)[:, None, None].expand(-1, length, 1)
            wrong = mixture.log_likelihood(still).sum(1).argmax(-1) == 1
            density = torch.exp(-(fine**2) / 2) / math.sqrt(2 * math.pi)
            assert float((density * wrong).sum() * (fine[1] - fine[0])) == pytest.approx(error, abs=5e-5)


def test_clusters_are_found() -> None:
    states = clusters(120)
    fit = fit_mixture(states, 3, restarts=3)
    labels = fit.responsibilities.argmax(-1)
    truth = torch.arange(120) % 3
    table = torch.zeros(3, 3).index_put_((labels, truth), torch.ones(120), accumulate=True)
    assert sorted(table.amax(1).tolist()) == [40, 40, 40]
    torch.testing.assert_close(fit.mixture.log_prior.exp(), torch.full((3,), 1 / 3, dtype=torch.float64))


def test_an_empty_component_takes_half_of_the_largest() -> None:
    states = clusters(120)
    start = torch.zeros(120, 3, dtype=torch.float64)
    start[:, 0] = 1  # two components own nothing
    left_alone = fit_mixture(states, 3, start=start, least=0.0)
    assert left_alone.responsibilities.sum(0).sort().values[:2].tolist() == pytest.approx([0, 0], abs=1e-6)
    fit = fit_mixture(states, 3, start=start)
    truth = torch.arange(120) % 3
    for component in range(3):
        assert len(truth[fit.responsibilities.argmax(-1) == component].unique()) == 1
    assert fit.objective[-1] > left_alone.objective[-1] + 1


def test_equal_trajectories_are_no_trap() -> None:
    fit = fit_mixture(torch.ones(10, 4, 2), 3)
    assert bool(fit.mixture.log_likelihood(torch.zeros(5, 2)).isfinite().all())
    assert fit.mixture.log_prior.exp().sum() == pytest.approx(1)
    torch.testing.assert_close(dense(fit.mixture.scale), 0.01 * torch.eye(2).expand(3, 2, 2))


@given(st.integers(0, 100), st.sampled_from(list(FAMILIES.values())))
def test_the_floor_is_under_every_direction(seed: int, family: type[Covariance]) -> None:
    flat = clusters(30, 4, 3, seed)
    flat[..., 2] = flat[..., 0]  # a direction without variance
    scale = fit_mixture(flat, 4, covariance=family(0.05)).mixture.scale
    assert float(torch.linalg.eigvalsh(dense(scale)).min()) >= 0.05 - 1e-9


def test_far_states_have_finite_densities() -> None:
    for dtype in (torch.float32, torch.float64):
        mixture = fit_mixture(clusters().to(dtype), 3).mixture
        assert mixture.means.dtype == dtype
        assert bool(mixture.log_likelihood(torch.full((1, 3), 1e3, dtype=dtype)).isfinite().all())


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    from lightning_binding.carml import em, mixture

    states = clusters()
    start = torch.rand(60, 3, dtype=torch.float64).softmax(-1)
    whole = fit_mixture(states, 3, start=start, iterations=5)
    density = whole.mixture.log_likelihood(states)
    monkeypatch.setattr(em, "BLOCK", 64)
    monkeypatch.setattr(em, "KEPT", 0)
    monkeypatch.setattr(mixture, "BLOCK", 64)
    parts = fit_mixture(states, 3, start=start, iterations=5)
    torch.testing.assert_close(parts.mixture.means, whole.mixture.means)
    torch.testing.assert_close(parts.mixture.log_likelihood(states), density)


def test_a_fit_goes_on_from_a_mixture() -> None:
    states = clusters(apart=1.0)
    start = torch.rand(60, 3, dtype=torch.float64).softmax(-1)
    five = fit_mixture(states, 3, start=start, iterations=5, tolerance=-1.0)
    two = fit_mixture(states, 3, start=start, iterations=2, tolerance=-1.0)
    three = fit_mixture(states, 3, start=two.mixture, iterations=3, tolerance=-1.0)
    torch.testing.assert_close(three.mixture.means, five.mixture.means)
    assert three.objective[-1] == pytest.approx(five.objective[-1], abs=1e-9)


def test_kmeans_of_trajectories_is_kmeans_of_their_means() -> None:
    states = clusters()
    labels = kmeans_assignments(states.mean(1), 3, torch.Generator().manual_seed(0))
    centres = (labels.T @ states.mean(1)) / labels.sum(0)[:, None]
    distance = (states[:, :, None] - centres).square().sum((1, 3))
    assert torch.equal(distance.argmin(-1), labels.argmax(-1))


def test_samples_have_the_moments_of_their_component() -> None:
    mixture = fit_mixture(clusters(), 3).mixture
    drawn = mixture.sample(torch.full((50_000,), 1), torch.Generator().manual_seed(0))
    torch.testing.assert_close(drawn.mean(0), mixture.means[1], atol=0.05, rtol=0)
    torch.testing.assert_close(drawn.T.cov(), dense(mixture.scale)[1], atol=0.08, rtol=0)


@pytest.mark.parametrize(
    ("trajectories", "components", "sentence"),
    [
        (torch.zeros(3, 4, 2), 5, "5 components cannot be fitted to 3 trajectories"),
        (torch.zeros(0, 4, 2), 1, "1 components cannot be fitted to 0 trajectories"),
        (torch.zeros(3, 4, 2), 0, "0 components cannot"),
        (torch.zeros(3, 4), 1, r"expected \(N, T, d\)"),
        (torch.full((3, 4, 2), math.nan), 1, "not finite"),
    ],
)
def test_wrong_input(trajectories: Tensor, components: int, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        fit_mixture(trajectories, components)


@pytest.mark.parametrize("floor", [0.0, -1.0, math.nan])
def test_a_floor_is_positive(floor: float) -> None:
    with pytest.raises(InputError, match="floor is"):
        FullCovariance(floor)
