"""What the network predicts: the noise, the data, or a mixture, with the conversions between them.

All live on the variance-preserving path x_t = sqrt(gamma) x_0 + sqrt(1 - gamma) eps. A target is what the loss compares
the prediction with; decoding turns the prediction back into the pair (x_0, eps). The noise level `gamma` is (B,), in
[0, 1]; the data `x_0`, the noise `eps` and `x_t` are (B, ...) of any equal shape; x_0 in [-b, b], eps of unit variance.
Arithmetic is done in float32 at least.
"""

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor

from lightning_binding.errors import InputError

VARIANCE_MIN = 1e-9  # floor of what is divided by: decoding stays finite at gamma = 0 and 1


class Decoded(NamedTuple):
    """The network's belief about what x_t was made of.

    Attributes:
        x_0: Data, (B, ...).
        eps: Noise, (B, ...).
    """

    x_0: Tensor
    eps: Tensor


class Objective(ABC):
    """A prediction target and its inverse."""

    @abstractmethod
    def target(self, x_0: Tensor, eps: Tensor, gamma: Tensor) -> Tensor:
        """What the network should predict for x_t.

        Args:
            x_0: Data, (B, ...), in [-b, b].
            eps: Noise, (B, ...).
            gamma: Noise level (B,), in [0, 1].

        Returns:
            The target, (B, ...).
        """

    @abstractmethod
    def decode(self, prediction: Tensor, x_t: Tensor, gamma: Tensor) -> Decoded:
        """The data and the noise that a prediction stands for; they make up x_t exactly.

        Args:
            prediction: The network's output, (B, ...).
            x_t: Noisy data, (B, ...).
            gamma: Noise level (B,), in [0, 1].

        Returns:
            x_0 and eps, (B, ...) each, finite at both ends of gamma.
        """

    def loss(self, prediction: Tensor, target: Tensor) -> Tensor:
        """The loss of each example: the mean squared error, unless an objective has its own.

        Args:
            prediction: The network's output, (B, ...).
            target: What `target` gave.

        Returns:
            (B,).
        """
        return (prediction - target).square().flatten(1).mean(dim=1)

    def prediction_shape(self, shape: torch.Size) -> torch.Size:
        """The shape of a prediction for x_t of a shape (B, ...): the same, unless an objective needs another."""
        return shape

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class Epsilon(Objective):
    """The noise itself (arXiv 2006.11239, Eq. 14): the paper's choice."""

    def target(self, x_0: Tensor, eps: Tensor, gamma: Tensor) -> Tensor:
        """Returns eps."""
        return eps

    def decode(self, prediction: Tensor, x_t: Tensor, gamma: Tensor) -> Decoded:
        """Gives x_0 = (x_t - sqrt(1 - gamma) eps) / sqrt(gamma)."""
        gamma = per_example(gamma, x_t)
        x_0 = (x_t - (1 - gamma).sqrt() * prediction) / gamma.clamp_min(VARIANCE_MIN).sqrt()
        return Decoded(x_0, prediction)


class X0(Objective):
    """The data."""

    def target(self, x_0: Tensor, eps: Tensor, gamma: Tensor) -> Tensor:
        """Returns x_0."""
        return x_0

    def decode(self, prediction: Tensor, x_t: Tensor, gamma: Tensor) -> Decoded:
        """Gives eps = (x_t - sqrt(gamma) x_0) / sqrt(1 - gamma)."""
        return Decoded(prediction, noise_within(x_t, prediction, gamma))


class V(Objective):
    """The velocity along the arc, v = sqrt(gamma) eps - sqrt(1 - gamma) x_0 (arXiv 2202.00512, section 4).

    It decodes without a division, so it is well-conditioned at both ends.
    """

    def target(self, x_0: Tensor, eps: Tensor, gamma: Tensor) -> Tensor:
        """Returns v."""
        gamma = per_example(gamma, x_0)
        return gamma.sqrt() * eps - (1 - gamma).sqrt() * x_0

    def decode(self, prediction: Tensor, x_t: Tensor, gamma: Tensor) -> Decoded:
        """Gives x_0 = sqrt(gamma) x_t - sqrt(1 - gamma) v and eps = sqrt(1 - gamma) x_t + sqrt(gamma) v."""
        gamma = per_example(gamma, x_t)
        signal, noise = gamma.sqrt(), (1 - gamma).sqrt()
        return Decoded(signal * x_t - noise * prediction, noise * x_t + signal * prediction)


class Flow(Objective):
    """The velocity along the straight line, u = eps - x_0 (arXiv 2210.02747, Eq. 23), from x_t of the arc.

    The arc's x_t is the line's point divided by its standard deviation; with `schedules.Rectified` the times agree too.
    """

    def target(self, x_0: Tensor, eps: Tensor, gamma: Tensor) -> Tensor:
        """Returns u."""
        return eps - x_0

    def decode(self, prediction: Tensor, x_t: Tensor, gamma: Tensor) -> Decoded:
        """Gives x_0 = (x_t - sqrt(1 - gamma) u) / (sqrt(gamma) + sqrt(1 - gamma)) and eps = x_0 + u."""
        gamma = per_example(gamma, x_t)
        signal, noise = gamma.sqrt(), (1 - gamma).sqrt()
        x_0 = (x_t - noise * prediction) / (signal + noise)  # the divisor is at least 1
        return Decoded(x_0, x_0 + prediction)


def add_noise(x_0: Tensor, eps: Tensor, gamma: Tensor) -> Tensor:
    """The forward process, x_t = sqrt(gamma) x_0 + sqrt(1 - gamma) eps (arXiv 2212.11972).

    Args:
        x_0: Data, (B, ...), in [-b, b].
        eps: Standard normal noise, (B, ...).
        gamma: Noise level (B,), in [0, 1].

    Returns:
        x_t, (B, ...).
    """
    gamma = per_example(gamma, x_0)
    return gamma.sqrt() * x_0 + (1 - gamma).sqrt() * eps


def noise_within(x_t: Tensor, x_0: Tensor, gamma: Tensor) -> Tensor:
    """The noise that makes x_t of x_0: eps = (x_t - sqrt(gamma) x_0) / sqrt(1 - gamma), all (B, ...), gamma (B,)."""
    gamma = per_example(gamma, x_t)
    return (x_t - gamma.sqrt() * x_0) / (1 - gamma).clamp_min(VARIANCE_MIN).sqrt()


def per_example(gamma: Tensor, x: Tensor) -> Tensor:
    """Shapes gamma (B,) as (B, 1, ...) beside x (B, ...), in float32 at least.

    Raises:
        InputError: If there is not one gamma for each example.
    """
    if tuple(gamma.shape) != (x.shape[0],):
        raise InputError(
            f"gamma has shape {tuple(gamma.shape)}, expected ({x.shape[0]},): one noise level for each example of x, "
            f"whose shape is {tuple(x.shape)}."
        )
    gamma = gamma if gamma.dtype == torch.float64 else gamma.float()
    return gamma.view(-1, *[1] * (x.ndim - 1))
