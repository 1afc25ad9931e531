"""The reward of a task: what a density model of the agent's own states pays for.

Jabri et al., *Unsupervised Curricula for Visual Meta-Reinforcement Learning*, NeurIPS 2019 (arXiv 1912.04226). With a
mixture q(s) = sum_z q(z) q(s|z) over the tasks z, the agent that was given task z earns in state s

    r_z(s) = lam log q(s|z) - log q(s)
           = (lam - 1) log q(s|z) + log q(z|s) - log q(z),

so lam = 1 pays for states that tell the task from the others, and smaller lam adds a bonus for states that are rare
under the task itself. The mean of the reward at lam = 1 is the mutual information I(s; z), a lower bound of
I(trajectory; z).
"""

import torch
from torch import Tensor

from lightning_binding.errors import InputError


def task_reward(log_likelihood: Tensor, log_prior: Tensor, z: Tensor | int, lam: float) -> Tensor:
    """r_z(s) = lam log q(s|z) - log q(s).

    Args:
        log_likelihood: log q(s|k) of every state under every task, (..., K), in nats.
        log_prior: log q(k), (K,), or anything that broadcasts with the likelihoods.
        z: Task of each state, integers in [0, K) of shape (...) or one that broadcasts to it, as (B, 1) for B
            trajectories of T states.
        lam: Weight of the task's own likelihood, in [0, 1]; 1 is DIAYN's reward, 0 that of rare states alone.

    Returns:
        (...), in nats.

    Raises:
        InputError: If the shapes do not fit, a task does not exist, or lam is outside [0, 1].
    """
    components = log_likelihood.shape[-1] if log_likelihood.ndim else 0
    if not components or log_prior.shape[-1:] != (components,):
        raise InputError(
            f"log_likelihood has the shape {tuple(log_likelihood.shape)} and log_prior {tuple(log_prior.shape)}; "
            "expected (..., K) and (K,)."
        )
    if not 0 <= lam <= 1:
        raise InputError(f"lam is {lam}; it must be in [0, 1].")
    z = torch.as_tensor(z, device=log_likelihood.device)
    if z.is_floating_point() or (z.numel() and not 0 <= int(z.min()) <= int(z.max()) < components):
        raise InputError(f"z must be whole numbers from 0 to {components - 1}, the tasks of the mixture.")
    try:
        z = z.long().expand(log_likelihood.shape[:-1])
    except RuntimeError as error:
        raise InputError(
            f"z has the shape {tuple(z.shape)}, which does not broadcast to the states' "
            f"{tuple(log_likelihood.shape[:-1])}."
        ) from error
    given_task = log_likelihood.gather(-1, z.unsqueeze(-1)).squeeze(-1)
    return lam * given_task - log_marginal(log_likelihood, log_prior)


def log_marginal(log_likelihood: Tensor, log_prior: Tensor) -> Tensor:
    """Log q(s) of states, (...), from log q(s|k) (..., K) and log q(k) (K,); finite however far the state is."""
    return torch.logsumexp(log_likelihood + log_prior, dim=-1)


def log_posterior(log_likelihood: Tensor, log_prior: Tensor) -> Tensor:
    """Log q(k|s) of states, (..., K), from log q(s|k) (..., K) and log q(k) (K,)."""
    return torch.log_softmax(log_likelihood + log_prior, dim=-1)


def information(log_likelihood: Tensor, log_prior: Tensor) -> Tensor:
    """What a state tells of the task: KL(q(z|s) || q(z)), (...), in nats.

    Its mean over states drawn from the mixture is I(s; z), at most ln K for uniform tasks.

    Args:
        log_likelihood: log q(s|k), (..., K).
        log_prior: log q(k), (K,).
    """
    posterior = log_posterior(log_likelihood, log_prior)
    return (posterior.exp() * (posterior - log_prior).nan_to_num(neginf=0.0)).sum(-1)


def posterior_entropy(log_likelihood: Tensor, log_prior: Tensor) -> Tensor:
    """What a state leaves open about the task: H(z|s), (...), in nats up to ln K; arguments as `information`."""
    posterior = log_posterior(log_likelihood, log_prior)
    surprise: Tensor = -(posterior.exp() * posterior.nan_to_num(neginf=0.0))
    return surprise.sum(-1)
