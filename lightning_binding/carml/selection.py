"""How many tasks there are: the number of components by an information criterion, or by held-out trajectories."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lightning_binding.carml.covariance import Covariance, FullCovariance
from lightning_binding.carml.em import MixtureFit, fit_mixture
from lightning_binding.errors import InputError


class Choice(NamedTuple):
    """What `choose_components` returns: the best fit, and the score of each candidate (higher is better)."""

    fit: MixtureFit
    scores: dict[int, float]


def choose_components(
    trajectories: Tensor,
    candidates: Sequence[int],
    *,
    held_out: float | None = None,
    covariance: Covariance | None = None,
    generator: torch.Generator | None = None,
    **options: Any,
) -> Choice:
    """Fits a mixture with each number of components and keeps the best.

    Args:
        trajectories: Features, (N, T, d).
        candidates: Numbers of components to try.
        held_out: Share of the trajectories by whose mean log-likelihood fits to the others are compared; the best
            number is then fitted to all. None compares by the Bayesian information criterion (Schwarz, 1978), with
            trajectories as the independent observations.
        covariance: Family of covariances; None is `FullCovariance()`.
        generator: Source of random numbers, on the CPU.
        **options: Further arguments of `fit_mixture`.

    Raises:
        InputError: If there is no candidate, or the share leaves one side without trajectories.
    """
    covariance = covariance or FullCovariance()
    if not candidates:
        raise InputError("candidates is empty; name one number of components or more.")
    options |= {"covariance": covariance, "generator": generator}
    if held_out is None:
        fits = {count: fit_mixture(trajectories, count, **options) for count in candidates}
        scores = {count: -bic(fit, covariance, len(trajectories)) for count, fit in fits.items()}
        return Choice(fits[max(scores, key=scores.__getitem__)], scores)
    kept_out = round(held_out * len(trajectories))
    if not 0 < kept_out < len(trajectories):
        raise InputError(f"held_out is {held_out}, which splits {len(trajectories)} trajectories into none and all.")
    order = torch.randperm(len(trajectories), generator=generator).to(trajectories.device)
    inside, outside = trajectories[order[kept_out:]], trajectories[order[:kept_out]]
    scores = {}
    for count in candidates:
        mixture = fit_mixture(inside, count, **options).mixture
        whole = mixture.log_likelihood(outside).sum(1) + mixture.log_prior
        scores[count] = float(whole.logsumexp(-1).mean())
    return Choice(fit_mixture(trajectories, max(scores, key=scores.__getitem__), **options), scores)


def bic(fit: MixtureFit, covariance: Covariance, trajectories: int) -> float:
    """The Bayesian information criterion of a fit to so many trajectories; lower is better."""
    components, width = fit.mixture.means.shape
    free = components * covariance.free_parameters(width) + components - 1
    return free * math.log(trajectories) - 2 * trajectories * fit.objective[-1]
