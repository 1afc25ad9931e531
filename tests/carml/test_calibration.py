"""The noise through which single states foretell their tasks best."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.distributions import MultivariateNormal

from lightning_binding.carml.calibration import calibrated_noise
from lightning_binding.carml.covariance import FullCovariance
from lightning_binding.carml.mixture import GaussianMixture
from lightning_binding.carml.reward import task_reward
from lightning_binding.carml.scaffold import Scaffold


def known(seed: int = 0, trajectories: int = 600, length: int = 10) -> tuple[GaussianMixture, Tensor, Tensor]:
    """A mixture of three overlapping Gaussians, independent states (N, T, 2) of it, and whose they are (N, K)."""
    generator = torch.Generator().manual_seed(seed)
    root = torch.eye(2) + 0.3 * torch.randn(3, 2, 2, generator=generator).tril()
    means = torch.randn(3, 2, generator=generator)
    mixture = GaussianMixture(torch.tensor([0.5, 0.3, 0.2]).log(), means, root)
    z = torch.multinomial(mixture.log_prior.exp(), trajectories, replacement=True, generator=generator)
    states = mixture.sample(z.unsqueeze(1).expand(-1, length), generator)
    return mixture, states, torch.nn.functional.one_hot(z, 3).float()


def foretold(mixture: GaussianMixture, states: Tensor, owners: Tensor, noise: float) -> float:
    """Mean log q(z|s) of states under the tasks of their trajectories, seen through noise."""
    log_likelihood = mixture.blurred(noise).log_likelihood(states)
    return float(((log_likelihood + mixture.log_prior).log_softmax(-1) * owners.unsqueeze(1)).sum(-1).mean())


def sharpened(mixture: GaussianMixture, variance: float) -> GaussianMixture:
    """Covariances less a variance: what `blurred` makes whole again."""
    covariance = mixture.scale @ mixture.scale.mT - variance * torch.eye(2)
    return GaussianMixture(mixture.log_prior, mixture.means, torch.linalg.cholesky(covariance))


def test_blurred_is_the_density_with_noise_added() -> None:
    mixture, states, _ = known()
    for each in (mixture, GaussianMixture(mixture.log_prior, mixture.means, torch.ones(3, 2) * 0.7)):
        factor = each.scale if each.scale.ndim == 3 else torch.diag_embed(each.scale)
        density = MultivariateNormal(each.means, factor @ factor.mT + 4 * torch.eye(2)).log_prob(states[:50, :, None])
        torch.testing.assert_close(each.blurred(4.0).log_likelihood(states[:50]), density)
    torch.testing.assert_close(mixture.blurred(0.0).scale.abs(), mixture.scale.abs())


def test_what_was_made_too_narrow_is_found() -> None:
    mixture, states, owners = known(trajectories=5000)
    least = float(torch.linalg.eigvalsh(mixture.scale @ mixture.scale.mT).min())
    found = calibrated_noise(sharpened(mixture, 0.8 * least), states, owners)
    assert found == pytest.approx(0.8 * least, rel=0.15)  # the states are a sample


def test_states_of_all_times_are_looked_at() -> None:
    """As many trajectories as states that are looked at, of which the first states tell nothing."""
    mixture, states, owners = known(trajectories=8192, length=4)
    states[:, 0] = torch.randn(8192, 2)
    found = calibrated_noise(mixture, states[:, 1:], owners)
    with_first = calibrated_noise(mixture, states, owners)
    assert found < with_first < 2  # of the first ones alone, noise would leave nothing
    assert calibrated_noise(mixture, states[:, :1], owners) > 10


def test_a_floor_that_is_almost_none() -> None:
    flat = torch.randn(200, 6, 2, generator=torch.Generator().manual_seed(0)) @ torch.randn(2, 16)
    assert Scaffold(4, covariance=FullCovariance(floor=1e-7), calibrated=True).fit(flat).noise >= 0


def test_what_is_not_too_sure_stays() -> None:
    mixture, states, owners = known()
    assert calibrated_noise(mixture.blurred(3.0), states, owners) == 0.0


def test_states_that_tell_nothing_are_believed_nothing() -> None:
    mixture, states, owners = known()
    mixture = GaussianMixture(owners.mean(0).log(), mixture.means, mixture.scale)
    noise = calibrated_noise(mixture, states, owners[torch.randperm(len(owners))])
    assert noise > 10
    posterior = mixture.blurred(noise).log_likelihood(states) + mixture.log_prior
    assert float((posterior.log_softmax(-1) - mixture.log_prior).abs().max()) < 0.5


@settings(max_examples=20)
@given(seed=st.integers(0, 1000), narrow=st.floats(2, 50))
def test_it_is_the_greatest(seed: int, narrow: float) -> None:
    mixture, states, _ = known(seed, 40, 4)
    mixture = GaussianMixture(mixture.log_prior, mixture.means, mixture.scale / narrow)
    owners = (mixture.log_likelihood(states).sum(1) + mixture.log_prior).softmax(-1)  # soft ones, as of a fit
    found = calibrated_noise(mixture, states, owners)
    best = foretold(mixture, states, owners, found)
    for other in (0.0, 0.3 * found, 0.8 * found, 1.25 * found, 3 * found):
        assert foretold(mixture, states, owners, other) <= best + 1e-4


def slow_walks(seed: int) -> Tensor:
    """Trajectories (N, T, 24) that drift apart from one place: neighbouring states are alike, features many."""
    generator = torch.Generator().manual_seed(seed)
    steps = torch.randn(200, 12, 3, generator=generator) + torch.randn(200, 1, 3, generator=generator)
    lift = torch.randn(3, 24, generator=torch.Generator().manual_seed(9))
    walks = steps.cumsum(1) @ lift
    return walks.tanh() + 0.1 * torch.randn(walks.shape, generator=generator)


def mean_reward(scaffold: Scaffold, trajectories: Tensor) -> float:
    """Mean r_z, at lam of 1, of the states of trajectories under their own tasks."""
    z = scaffold.assign(trajectories).unsqueeze(1)
    return float(task_reward(scaffold.log_likelihood(trajectories), scaffold.log_prior, z, 1.0).mean())


def test_a_calibrated_scaffold_pays_for_one_s_own_task() -> None:
    trajectories, new = slow_walks(0), slow_walks(1)
    plain, calibrated = Scaffold(8), Scaffold(8, calibrated=True)
    assert plain.fit(trajectories).noise == 0.0
    assert calibrated.fit(trajectories).noise == calibrated.noise > 0.05
    assert torch.equal(calibrated.assign(new), plain.assign(new))  # trajectories are judged as before
    assert torch.equal(calibrated.mixture.scale, plain.mixture.scale)
    assert mean_reward(plain, new) < mean_reward(calibrated, new) - 0.2
    assert mean_reward(calibrated, new) > 0  # better than to be where nothing is told
    resumed = Scaffold(8, calibrated=True)
    resumed.load_state_dict(calibrated.state_dict())
    assert torch.equal(resumed.log_likelihood(new), calibrated.log_likelihood(new))
    older = {name: value for name, value in plain.state_dict().items() if name != "noise"}
    resumed.load_state_dict(older)
    assert torch.equal(resumed.log_likelihood(new), plain.log_likelihood(new))


def test_tasks_of_single_states_need_none() -> None:
    scaffold = Scaffold(4, state_level=True, calibrated=True)
    assert scaffold.fit(slow_walks(0)).noise < 0.02
