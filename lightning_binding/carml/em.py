"""Expectation maximisation over whole trajectories, in log space and from their moments.

States count as exchangeable, so that a trajectory is known to EM by three numbers of moments: T, sum_t s_t and
sum_t s_t s_t^T. One iteration then costs as if each trajectory were a single point. The E-step is

    gamma_nk = softmax_k(log pi_k + a sum_t log N(s_nt; mu_k, Sigma_k)),

with a = 1 (the likelihood of the trajectory) or a = 1 / T (its mean over time: softer, the likelihood is tempered).
Neither ever lowers sum_n logsumexp_k(...), the log-likelihood or the tempered free energy.
"""

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from lightning_binding.carml.covariance import Covariance, FullCovariance
from lightning_binding.carml.mixture import GaussianMixture
from lightning_binding.errors import InputError

KEPT = 2**25  # numbers of second moments that are kept; beyond, they are made again in every iteration
BLOCK = 2**22


class MixtureFit(NamedTuple):
    """What `fit_mixture` returns.

    Attributes:
        mixture: The fitted mixture, of the trajectories' type and on their device.
        responsibilities: q(z|tau) of the trajectories, (N, K).
        objective: Mean log-likelihood of a trajectory (or tempered free energy) before each M-step, and at the end.
        reseeded: Iterations in whose M-step an empty component was seeded again; after one, the objective may fall.
    """

    mixture: GaussianMixture
    responsibilities: Tensor
    objective: list[float]
    reseeded: list[int]


class _Moments:
    """Trajectories as their moments, in blocks; kept where there is room."""

    def __init__(self, states: Tensor, covariance: Covariance) -> None:
        self.states, self.covariance = states, covariance
        self.count = states.shape[1]
        width = covariance.second(states[:1]).numel()
        self.rows = max(1, BLOCK // width)
        self.kept = list(self._blocks()) if len(states) * width <= KEPT else None

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """First (n, d) and second (n, P) moments of one block after another."""
        return iter(self._blocks() if self.kept is None else self.kept)

    def _blocks(self) -> Iterator[tuple[Tensor, Tensor]]:
        for block in torch.split(self.states, self.rows):
            yield block.sum(1), self.covariance.second(block)


def fit_mixture(
    trajectories: Tensor,
    components: int,
    *,
    covariance: Covariance | None = None,
    mean_over_time: bool = False,
    start: GaussianMixture | Tensor | None = None,
    iterations: int = 100,
    tolerance: float = 1e-4,
    restarts: int = 1,
    least: float = 1.0,
    generator: torch.Generator | None = None,
) -> MixtureFit:
    """Fits a mixture of Gaussians whose components own whole trajectories.

    Args:
        trajectories: Features of the states, (N, T, d); with T = 1 it is a common mixture of states.
        components: Number of components, K.
        covariance: Family of covariances; None is `FullCovariance()`.
        mean_over_time: Weigh a trajectory by the mean instead of the sum of its states' log-likelihoods.
        start: Where to begin: a mixture, or responsibilities (N, K); None begins with k-means.
        iterations: Most iterations.
        tolerance: Stop when the objective, in nats for a trajectory, gains less in an iteration.
        restarts: Fits from different k-means, of which the best is kept; one where `start` is given.
        least: Trajectories that a component owns at least; one with fewer is seeded again in the largest.
        generator: Source of the random numbers of k-means, on the CPU.

    Raises:
        InputError: If there are fewer trajectories than components, or a state is not finite.
    """
    if trajectories.ndim != 3 or not trajectories.shape[1]:
        raise InputError(f"trajectories have the shape {tuple(trajectories.shape)}, expected (N, T, d).")
    if components < 1 or len(trajectories) < components:
        raise InputError(
            f"{components} components cannot be fitted to {len(trajectories)} trajectories: choose fewer components, "
            "or gather more trajectories before the first fit."
        )
    if not bool(trajectories.isfinite().all()):
        raise InputError("trajectories hold a value that is not finite; look at the observations and the encoder.")
    covariance = covariance or FullCovariance()
    states = trajectories.detach().to(torch.float32 if trajectories.device.type == "mps" else torch.float64)
    centre = states.mean((0, 1))  # products of numbers far from zero would lose their differences
    moments = _Moments(states - centre, covariance)
    power = 1 / moments.count if mean_over_time else 1.0
    if isinstance(start, GaussianMixture):
        start = start.to(states.device, states.dtype).moved(-centre)
    options = (moments, components, covariance, power, iterations, tolerance, least)
    fits = []
    for _ in range(restarts if start is None else 1):
        first = kmeans_assignments(states.mean(1), components, generator) if start is None else start
        fits.append(_climb(first, *options))
    best = max(fits, key=lambda fit: fit.objective[-1])
    mixture = best.mixture.moved(centre).to(dtype=trajectories.dtype)
    return best._replace(mixture=mixture, responsibilities=best.responsibilities.to(trajectories.dtype))


def _climb(
    start: GaussianMixture | Tensor,
    moments: _Moments,
    components: int,
    covariance: Covariance,
    power: float,
    iterations: int,
    tolerance: float,
    least: float,
) -> MixtureFit:
    """EM until the objective gains no more; arguments as `fit_mixture` prepares them."""
    objective: list[float] = []
    reseeded: list[int] = []
    if isinstance(start, GaussianMixture):
        mixture = start
    else:
        mixture, _ = _maximise(moments, start.to(moments.states), covariance, least)
    for iteration in range(iterations):
        responsibilities, value = expectation(mixture, moments, power)
        objective.append(value)
        seeded = bool(reseeded) and reseeded[-1] == iteration - 1
        if iteration and not seeded and value - objective[-2] < tolerance:
            return MixtureFit(mixture, responsibilities, objective, reseeded)
        spare = least if len(reseeded) < components else 0.0  # so that it ends
        mixture, seeds = _maximise(moments, responsibilities, covariance, spare)
        reseeded += [iteration] if seeds else []
    responsibilities, value = expectation(mixture, moments, power)
    return MixtureFit(mixture, responsibilities, [*objective, value], reseeded)


def expectation(mixture: GaussianMixture, moments: _Moments, power: float) -> tuple[Tensor, float]:
    """Responsibilities (N, K) of a mixture for trajectories, and their mean objective."""
    parts = [
        mixture.log_prior + power * mixture.log_likelihood_of_moments(moments.count, first, second)
        for first, second in moments
    ]
    logits = torch.cat(parts)
    return logits.softmax(-1), float(logits.logsumexp(-1).mean())


def _maximise(
    moments: _Moments, responsibilities: Tensor, covariance: Covariance, least: float
) -> tuple[GaussianMixture, int]:
    """The mixture that fits responsibilities (N, K) best, and how many of its components were seeded again."""
    weights = torch.split(responsibilities, moments.rows)
    sums = [(weight.T @ first, weight.T @ second) for (first, second), weight in zip(moments, weights, strict=True)]
    firsts, seconds = (torch.stack(each).sum(0) for each in zip(*sums, strict=True))
    owned = responsibilities.sum(0)
    share = (owned * moments.count).clamp(min=torch.finfo(owned.dtype).tiny).unsqueeze(-1)
    means = firsts / share
    mixture = GaussianMixture(_log_share(owned), means, covariance.estimate(seconds / share, means))
    return _reseed(mixture, owned, least)


def _log_share(owned: Tensor) -> Tensor:
    share: Tensor = owned / owned.sum()
    return share.clamp(min=torch.finfo(owned.dtype).tiny).log()


def _reseed(mixture: GaussianMixture, owned: Tensor, least: float) -> tuple[GaussianMixture, int]:
    """Gives each component that owns less than `least` trajectories half of the largest one.

    The two stand half a deviation apart from where the large one stood, in its widest direction.
    """
    owned, means, scale = owned.clone(), mixture.means.clone(), mixture.scale.clone()
    seeded = 0
    for k in [k for k in range(len(owned)) if float(owned[k]) < least]:
        largest = int(owned.argmax())
        if float(owned[largest]) < 2 * least:
            break
        step = _widest(scale[largest]) / 2
        scale[k] = scale[largest]
        means[k], means[largest] = means[largest] + step, means[largest] - step
        owned[k] = owned[largest] = owned[largest] / 2
        seeded += 1
    return (GaussianMixture(_log_share(owned), means, scale), seeded) if seeded else (mixture, 0)


def _widest(scale: Tensor) -> Tensor:
    """The direction in which a component is widest, one deviation long, (d,)."""
    if scale.ndim == 1:
        return torch.where(torch.arange(len(scale), device=scale.device) == scale.argmax(), scale, 0.0)
    variance, axes = torch.linalg.eigh(scale @ scale.T)
    direction: Tensor = axes[:, -1]
    return direction * math.sqrt(float(variance[-1]))


def kmeans_assignments(
    points: Tensor, components: int, generator: torch.Generator | None = None, iterations: int = 30
) -> Tensor:
    """One-hot clusters (N, K) by k-means with k-means++ seeds (Arthur and Vassilvitskii, 2007).

    The sum over a trajectory of squared distances to a centre is, but for a constant, T times that of its mean state:
    k-means over whole trajectories is k-means of their means.

    Args:
        points: Mean states of trajectories, (N, d).
        components: Number of clusters, K.
        generator: Source of random numbers, on the CPU.
        iterations: Most rounds.
    """
    centres = points[[int(torch.randint(len(points), (), generator=generator))]]
    nearest = (points - centres).square().sum(-1)
    while len(centres) < components:
        chance = nearest.cpu() if float(nearest.sum()) > 0 else torch.ones(len(points), dtype=points.dtype)
        chosen = int(torch.multinomial(chance, 1, generator=generator))
        centres = torch.cat([centres, points[[chosen]]])
        nearest = torch.minimum(nearest, (points - points[chosen]).square().sum(-1))
    labels = torch.full((len(points),), -1, device=points.device)
    for _ in range(iterations):
        closest = torch.cdist(points, centres).argmin(-1)
        if torch.equal(closest, labels):
            break
        labels = closest
        one_hot = torch.nn.functional.one_hot(labels, components).to(points)
        owned = one_hot.sum(0).unsqueeze(-1)
        centres = torch.where(owned > 0, one_hot.T @ points / owned.clamp(min=1), centres)
    return torch.nn.functional.one_hot(labels, components).to(points)
