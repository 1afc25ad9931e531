"""How sure a mixture of trajectories may be of a single state.

The scaffold's model takes the states of a trajectory for independent and their features for Gaussian. Neither is so,
and the more features there are, the surer its q(z|s) becomes of what single states do not tell: the mean of r_z then
lies many nats below zero, and the best that an agent can do is to stay where no task is told apart. One number mends
it, as the temperature of a classifier does (Guo et al., 2017, arXiv 1706.04599): states are judged as if they were seen
through noise, of the variance v at which q(z|s) foretells best which task a state's trajectory belongs to,

    max_v  E_tau E_{z ~ q(z|tau)} mean_t log q_v(z|s_t),     q_v(s|z) = N(mu_z, Sigma_z + v I).

These are densities as before, so that every identity of the reward holds; and as v grows they become alike, so that
q(z|s) goes to q(z). Widening each Sigma_z by a factor would not do that, as the larger ones stay the larger.
"""

import math

import torch
from torch import Tensor

from lightning_binding.carml.drawn import drawn
from lightning_binding.carml.mixture import GaussianMixture

GRID = (0.0, *(10 ** (power / 4) for power in range(-8, 9)))  # variances, of features that have one of 1
STATES = 8192  # that are looked at, at most
REFINEMENTS = 3  # of the grid, each to a third: to about 5 % of the variance, at a flat top


def calibrated_noise(mixture: GaussianMixture, states: Tensor, owners: Tensor) -> float:
    """The variance of the noise through which single states foretell their tasks best, in [0, 100].

    Args:
        mixture: Over standardised features.
        states: Features of trajectories, (N, T, d).
        owners: q(z|tau), the responsibilities of the tasks for the trajectories, (N, K).

    Returns:
        0 where the mixture is not too sure: where none of the grid's variances, 0.01 and more, foretells better.
    """
    count = states.shape[:2].numel()
    looked = drawn(count, STATES).to(states.device)
    rows, whose = states.flatten(0, 1)[looked], owners[looked // states.shape[1]]

    def foretold(noise: float) -> float:
        joint = mixture.blurred(noise).log_likelihood(rows) + mixture.log_prior
        return float((joint.log_softmax(-1) * whose).sum(-1).double().mean())

    scores = [foretold(noise) for noise in GRID]
    best = max(range(len(GRID)), key=scores.__getitem__)
    if best == 0:
        return 0.0
    low, high = max(GRID[best - 1], GRID[1] / 10), GRID[min(best + 1, len(GRID) - 1)]
    for _ in range(REFINEMENTS):
        finer = torch.logspace(math.log10(low), math.log10(high), 7).tolist()
        scores = [foretold(noise) for noise in finer]
        best = max(range(7), key=scores.__getitem__)
        low, high = finer[max(best - 1, 0)], finer[min(best + 1, 6)]
    return float((low * high) ** 0.5)
