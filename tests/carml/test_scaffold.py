"""The scaffold: tasks that are there are found, numbers are kept, and processes agree."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from gloo_pool import GlooPool
from torch import Tensor

from lightning_binding import InputError
from lightning_binding.carml.covariance import DiagonalCovariance
from lightning_binding.carml.features import DiscriminativeFeatures, SmallPictures
from lightning_binding.carml.reward import task_reward
from lightning_binding.carml.scaffold import Scaffold


def rays(count: int = 80, length: int = 8, seed: int = 0, tasks: int = 4) -> tuple[Tensor, Tensor]:
    """Trajectories (N, T, 2) that leave the middle in one of some directions, and the direction (N,)."""
    generator = torch.Generator().manual_seed(seed)
    z = torch.arange(count) % tasks
    angle = 2 * math.pi * z / tasks
    way = torch.stack([angle.cos(), angle.sin()], -1)[:, None] * torch.linspace(0.2, 2, length)[:, None]
    return 10 + 3 * (way + 0.1 * torch.randn(count, length, 2, generator=generator)), z


def purity(labels: Tensor, truth: Tensor) -> float:
    """Share of trajectories whose cluster's most frequent truth is their own."""
    pairs = torch.zeros(int(labels.max()) + 1, int(truth.max()) + 1)
    pairs.index_put_((labels, truth), torch.ones(len(labels)), accumulate=True)
    return float(pairs.amax(1).sum()) / len(labels)


@pytest.mark.parametrize("options", [{}, {"mean_over_time": True}, {"covariance": DiagonalCovariance()}])
def test_tasks_are_found(options: dict[str, Any]) -> None:
    trajectories, z = rays()
    scaffold = Scaffold(4, **options)
    fit = scaffold.fit(trajectories)
    assert purity(scaffold.assign(trajectories), z) == 1
    assert fit.kept == 1
    fresh, truth = rays(seed=1)
    assert purity(scaffold.assign(fresh), truth) == 1
    assert scaffold.log_likelihood(fresh).shape == (80, 8, 4)
    assert scaffold.log_prior.exp().sum() == pytest.approx(1)


def test_features_are_standardised() -> None:
    trajectories, _ = rays()
    first, second = Scaffold(4), Scaffold(4)
    first.fit(trajectories)
    second.fit(100 * trajectories - 7)
    embedded = first.embed(trajectories.flatten(0, 1))
    torch.testing.assert_close(embedded.mean(0), torch.zeros(2), atol=1e-5, rtol=0)
    torch.testing.assert_close(embedded.std(0, correction=0), torch.ones(2), atol=1e-5, rtol=0)
    density = first.log_likelihood(trajectories)
    torch.testing.assert_close(second.log_likelihood(100 * trajectories - 7), density, atol=2e-3, rtol=1e-3)


def test_a_trajectory_s_posterior_is_bayes_rule() -> None:
    trajectories, _ = rays()
    for mean_over_time in (False, True):
        scaffold = Scaffold(3, mean_over_time=mean_over_time)
        scaffold.fit(trajectories)
        each = scaffold.log_likelihood(trajectories)
        joint = scaffold.log_prior + (each.mean(1) if mean_over_time else each.sum(1))
        torch.testing.assert_close(scaffold.log_posterior(trajectories), joint - joint.logsumexp(-1, keepdim=True))


def test_state_level_tasks_cut_trajectories() -> None:
    """Beginnings of all trajectories look alike: by state they may share a task that ends do not have."""
    trajectories, _ = rays(length=20)
    single = Scaffold(5, state_level=True)
    single.fit(trajectories)
    joint = single.log_likelihood(trajectories) + single.log_prior
    tasks = [len(row.unique()) for row in joint.argmax(-1)]
    assert sum(tasks) / len(tasks) > 1.3
    flat = joint.flatten(0, 1)
    objective = single.fit(trajectories).objective[-1]  # a mixture of 80 * 20 states
    assert objective == pytest.approx(float(flat.logsumexp(-1).mean()), abs=0.02)


@pytest.mark.parametrize("state_level", [False, True])
def test_tasks_keep_their_numbers(state_level: bool) -> None:
    trajectories, _ = rays()
    for warm_start in (True, False):
        scaffold = Scaffold(4, warm_start=warm_start, state_level=state_level)
        scaffold.fit(trajectories)
        before = scaffold.assign(trajectories)
        moved = rays(seed=3)[0]
        fit = scaffold.fit(torch.cat([moved, trajectories]))
        assert fit.kept > 0.8
        assert torch.equal(scaffold.assign(trajectories), before) or state_level


def test_a_warm_start_begins_where_the_last_fit_ended() -> None:
    trajectories = torch.randn(80, 5, 2, generator=torch.Generator().manual_seed(0))
    scaffold = Scaffold(6, restarts=1, iterations=8)
    first = scaffold.fit(trajectories)
    assert len(first.objective) == 9  # it could have gone on
    again = scaffold.fit(trajectories)
    assert again.objective[0] >= first.objective[-1] - 1e-3 > first.objective[0]


def test_the_number_of_tasks_is_chosen_once() -> None:
    trajectories, z = rays()
    scaffold = Scaffold(9, candidates=[2, 4, 8])
    scaffold.fit(trajectories)
    assert scaffold.mixture.components == 4
    assert purity(scaffold.assign(trajectories), z) == 1
    scaffold.fit(rays(tasks=2)[0])
    assert scaffold.mixture.components == 4


def pictures(count: int = 60, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Trajectories (N, T, 3, 36, 36) in which one of three colours appears here and there in noise, and which (N,)."""
    generator = torch.Generator().manual_seed(seed)
    z = torch.arange(count) % 3
    video = torch.randint(90, (count, 6, 3, 36, 36), generator=generator, dtype=torch.uint8)
    for index in range(count):
        for time in range(6):
            left, top = (int(each) for each in torch.randint(24, (2,), generator=generator))
            video[index, time, int(z[index]), top : top + 12, left : left + 12] = 230
    return video, z


def test_discriminative_features_tell_states_apart() -> None:
    video, z = pictures()
    learnt = Scaffold(3, DiscriminativeFeatures(width=8, rounds=4, epochs=2, batch=8))
    fit = learnt.fit(video)
    assert fit.told["feature_accuracy"] > 0.45  # in training, of single states; 0.5 to 0.97 by seed, chance is 1 / 3
    assert purity(learnt.assign(video), z) > 0.95
    fresh, truth = pictures(seed=1)
    assert purity(learnt.assign(fresh), truth) > 0.95


def test_rare_clusters_weigh_as_much_as_common_ones() -> None:
    """The loss of a classifier that knows nothing but how frequent clusters are is that of chance."""
    labels = (torch.arange(200) < 10).long()[:, None].expand(200, 4)
    features = DiscriminativeFeatures(width=2, epochs=1, batch=200)
    features.build((2,), False)
    told = features._classify(torch.randn(200, 4, 2), labels, torch.Generator().manual_seed(0))
    assert told["feature_loss"] == pytest.approx(math.log(2), abs=0.02)


def test_a_mixture_of_pixels() -> None:
    video, _ = pictures()
    scaffold = Scaffold(3, SmallPictures(4), DiagonalCovariance())
    scaffold.fit(video)
    assert scaffold.mixture.means.shape == (3, 48)
    assert scaffold.log_likelihood(video[0]).shape == (6, 3)
    grey = Scaffold(3, SmallPictures(4, grey=True), DiagonalCovariance())
    grey.fit(video)
    assert grey.mixture.means.shape == (3, 16)
    with pytest.raises(InputError, match=r"SmallPictures takes pictures"):
        scaffold.network(torch.zeros(2, 3))


@pytest.mark.parametrize("make", [lambda: None, lambda: DiscriminativeFeatures(width=3, rounds=2, epochs=1)])
def test_a_state_goes_on(make: Any, tmp_path: Path) -> None:
    trajectories, later = rays()[0], rays(seed=5)[0]
    whole, stopped, resumed = (Scaffold(4, make()) for _ in range(3))
    for scaffold in (whole, stopped):
        scaffold.fit(trajectories)
    torch.save(stopped.state_dict(), tmp_path / "state.pt")
    resumed.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    torch.testing.assert_close(resumed.log_likelihood(later), whole.log_likelihood(later), atol=0, rtol=0)
    assert resumed.fit(later) == whole.fit(later)
    torch.testing.assert_close(resumed.log_likelihood(later), whole.log_likelihood(later), atol=0, rtol=0)
    empty = Scaffold(4, make())
    empty.load_state_dict(Scaffold(4, make()).state_dict())
    assert not empty.fitted


def test_the_reward_does_not_depend_on_how_states_are_batched() -> None:
    trajectories, z = rays()
    scaffold = Scaffold(4)
    scaffold.fit(trajectories)
    together = task_reward(scaffold.log_likelihood(trajectories), scaffold.log_prior, z[:, None], 0.9)
    alone = [
        task_reward(scaffold.log_likelihood(each), scaffold.log_prior, int(k), 0.9)
        for each, k in zip(trajectories, z, strict=True)
    ]
    torch.testing.assert_close(torch.stack(alone), together)


def fit_part(rank: int, world: int, trajectories: Tensor, components: int) -> Any:
    """Fits to a part of the trajectories; the parts of the ranks are not equally large."""
    part = trajectories[:30] if rank == 0 else trajectories[30:]
    scaffold = Scaffold(components, DiscriminativeFeatures(width=3, rounds=1, epochs=1))
    try:
        fit = scaffold.fit(part)
    except InputError as error:
        return str(error)
    return list(fit), scaffold.state_dict()


def test_processes_fit_what_one_would(gloo: GlooPool) -> None:
    trajectories, _ = rays()
    found = gloo(fit_part, trajectories, 4)
    alone = Scaffold(4, DiscriminativeFeatures(width=3, rounds=1, epochs=1))
    fit = alone.fit(trajectories)
    for told, state in found:
        assert told == list(fit)
        for name, value in alone.state_dict()["mixture"].items():
            assert torch.equal(state["mixture"][name], value)


def test_an_error_is_raised_in_every_process(gloo: GlooPool) -> None:
    sentences = gloo(fit_part, rays()[0], 81)
    assert sentences[0] == sentences[1]
    assert "81 components cannot be fitted to 80 trajectories" in sentences[0]


def test_wrong_input() -> None:
    scaffold = Scaffold(4)
    with pytest.raises(InputError, match="the scaffold has no tasks yet"):
        scaffold.log_likelihood(torch.zeros(3, 2))
    with pytest.raises(InputError, match=r"expected \(N, T, ...\)"):
        scaffold.fit(torch.zeros(0, 4, 2))
    with pytest.raises(InputError, match="4 components cannot be fitted to 3"):
        scaffold.fit(torch.zeros(3, 4, 2))
    with pytest.raises(InputError, match="not finite"):
        scaffold.fit(torch.full((5, 4, 2), math.nan))
    with pytest.raises(InputError, match="components is 0"):
        Scaffold(0)
    with pytest.raises(InputError, match="expected 1 or more"):
        DiscriminativeFeatures(rounds=0)
