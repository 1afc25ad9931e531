"""The mathematics of learning from whole trials: advantages, and the loss of PPO.

Schulman et al., *High-Dimensional Continuous Control Using Generalized Advantage Estimation*, 2015 (arXiv 1506.02438),
and *Proximal Policy Optimization Algorithms*, 2017 (arXiv 1707.06347). The return of an agent that adapts is that of
the whole trial: values bootstrap over the ends of inner episodes, and nothing follows the end of a trial.
"""

from typing import NamedTuple

import torch
from torch import Tensor


def trial_advantages(rewards: Tensor, values: Tensor, gamma: float, lam: float) -> Tensor:
    """Generalised advantages over trials; eq. (16) of 1506.02438.

    A_t = sum_l (gamma lam)^l delta_{t+l} with delta_t = r_t + gamma V_{t+1} - V_t, and V = 0 after the last step.

    Args:
        rewards: (L, B), of whole trials.
        values: V_t, (L, B).
        gamma: Discount, in [0, 1].
        lam: Weight of longer looks ahead, in [0, 1].

    Returns:
        (L, B); with the values added, the targets of the critic.
    """
    following = torch.cat([values[1:], torch.zeros_like(values[:1])])
    deltas = rewards + gamma * following - values
    advantages = torch.empty_like(deltas)
    running = torch.zeros_like(deltas[0])
    for time in range(len(deltas) - 1, -1, -1):
        running = torch.add(deltas[time], running, alpha=gamma * lam)
        advantages[time] = running
    return advantages


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of the values where the mask is 1; 0 if it is nowhere. What is masked may be anything, NaN included."""
    mean: Tensor = torch.where(mask > 0, values, 0).sum() / mask.sum().clamp(min=1)
    return mean


def moments(values: Tensor, mask: Tensor) -> Tensor:
    """Count, sum and sum of squares of the values where the mask is 1, (3,) in float64: they add up over ranks."""
    chosen = torch.where(mask > 0, values, 0).double()
    return torch.stack([mask.double().sum(), chosen.sum(), chosen.square().sum()])


def normalised(values: Tensor, found: Tensor) -> Tensor:
    """The values less their mean, over their standard deviation, of `moments`; as stable-baselines3's."""
    count, total, squares = found.unbind()
    mean: Tensor = total / count.clamp(min=1)
    variance: Tensor = (squares - count * mean.square()) / (count - 1).clamp(min=1)
    result: Tensor = (values - mean.to(values)) / (variance.clamp(min=0).sqrt().to(values) + 1e-8)
    return result


class PPOLoss(NamedTuple):
    """Parts of the loss, each a scalar.

    Attributes:
        loss: What is minimised.
        policy: The clipped surrogate, negative.
        value: Mean squared error of the values.
        entropy: Of the policy, in nats.
        kl: Estimate of KL(old || new), in nats.
        clipped: Share of steps whose ratio is outside of the clip range.
    """

    loss: Tensor
    policy: Tensor
    value: Tensor
    entropy: Tensor
    kl: Tensor
    clipped: Tensor


def ppo_loss(
    log_probs: Tensor,
    entropy: Tensor,
    values: Tensor,
    *,
    old_log_probs: Tensor,
    old_values: Tensor,
    advantages: Tensor,
    returns: Tensor,
    mask: Tensor,
    clip: float = 0.2,
    value_clip: float | None = None,
    value_weight: float = 0.5,
    entropy_weight: float = 0.0,
) -> PPOLoss:
    """The clipped loss of PPO; eq. (7) and (9) of 1707.06347.

    Args:
        log_probs: Of the actions under the policy that learns, (L, B).
        entropy: Of the policy, (L, B), in nats.
        values: Of the critic that learns, (L, B).
        old_log_probs: When the actions were taken, (L, B).
        old_values: Likewise, (L, B).
        advantages: (L, B), normalised or not.
        returns: Targets of the values, (L, B).
        mask: 1 where a step counts, 0 elsewhere, (L, B).
        clip: Half of the width of the range about 1 that the ratio is kept in.
        value_clip: How far values may move from the old ones; None lets them.
        value_weight: Of the critic's error.
        entropy_weight: Of the entropy, which is subtracted.
    """
    log_ratio = log_probs - old_log_probs
    ratio = log_ratio.exp()
    surrogate = torch.minimum(advantages * ratio, advantages * ratio.clamp(1 - clip, 1 + clip))
    policy = -masked_mean(surrogate, mask)
    if value_clip is not None:
        values = old_values + (values - old_values).clamp(-value_clip, value_clip)
    value = masked_mean((returns - values).square(), mask)
    spread = masked_mean(entropy, mask)
    loss = policy + value_weight * value - entropy_weight * spread
    with torch.no_grad():
        kl = masked_mean(ratio - 1 - log_ratio, mask)
        clipped = masked_mean(((ratio - 1).abs() > clip).to(ratio.dtype), mask)
    return PPOLoss(loss, policy.detach(), value.detach(), spread.detach(), kl, clipped)
