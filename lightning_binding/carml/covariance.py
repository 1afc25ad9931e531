"""How the spread of a Gaussian component is modelled: in all directions, along the axes, or the same everywhere.

A `scale` is the lower Cholesky factor (K, d, d) of full covariances, or the deviations (K, d) along the axes.
"""

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from lightning_binding.errors import InputError


class Covariance(ABC):
    """A family of covariances with a floor under the variance in every direction.

    Raising the small eigenvalues of the estimate to the floor is the maximum of the likelihood among the covariances
    that keep to the floor, so EM stays monotone.

    Args:
        floor: Least variance in any direction, in units of the (standardised) features.

    Raises:
        InputError: If the floor is not positive.
    """

    def __init__(self, floor: float = 1e-2) -> None:
        if not floor > 0:
            raise InputError(f"floor is {floor}; it must be positive, or a component can collapse onto a point.")
        self.floor = floor

    @abstractmethod
    def second(self, states: Tensor) -> Tensor:
        """The second moments that an estimate needs, summed over a trajectory: (..., T, d) to (..., P)."""

    @abstractmethod
    def estimate(self, second: Tensor, means: Tensor) -> Tensor:
        """The scale of components, from their mean second moments (K, P) and their means (K, d)."""

    @abstractmethod
    def free_parameters(self, width: int) -> int:
        """Numbers that one component of width d has free, for the Bayesian information criterion."""


class FullCovariance(Covariance):
    """Any covariance: components are ellipsoids of any direction.

    Args:
        floor: Least variance in any direction, in units of the (standardised) features.
    """

    def second(self, states: Tensor) -> Tensor:
        """Sums of the products of all pairs of features, (..., d * d)."""
        return (states.transpose(-1, -2) @ states).flatten(-2)

    def estimate(self, second: Tensor, means: Tensor) -> Tensor:
        """Cholesky factors (K, d, d)."""
        covariance = second.reshape(-1, means.shape[1], means.shape[1]) - means[:, :, None] * means[:, None, :]
        variance, axes = torch.linalg.eigh(covariance)
        raised = (axes * variance.clamp(min=self.floor).unsqueeze(-2)) @ axes.transpose(-1, -2)
        factors: Tensor = torch.linalg.cholesky((raised + raised.transpose(-1, -2)) / 2)
        return factors

    def free_parameters(self, width: int) -> int:
        """The mean and half of a symmetric matrix."""
        return width + width * (width + 1) // 2


class DiagonalCovariance(Covariance):
    """A variance for every feature, and no correlation: for wide features, such as pixels.

    Args:
        floor: Least variance of a feature, in units of the (standardised) features.
    """

    def second(self, states: Tensor) -> Tensor:
        """Sums of squares, (..., d)."""
        return states.square().sum(-2)

    def estimate(self, second: Tensor, means: Tensor) -> Tensor:
        """Deviations (K, d)."""
        return (second - means.square()).clamp(min=self.floor).sqrt()

    def free_parameters(self, width: int) -> int:
        """Mean and variances."""
        return 2 * width


class SphericalCovariance(DiagonalCovariance):
    """One variance for all features of a component.

    Args:
        floor: Least variance, in units of the (standardised) features.
    """

    def estimate(self, second: Tensor, means: Tensor) -> Tensor:
        """Deviations (K, d), the same along every axis."""
        variance = (second - means.square()).mean(-1, keepdim=True)
        return variance.clamp(min=self.floor).sqrt().expand_as(means).contiguous()

    def free_parameters(self, width: int) -> int:
        """The mean and one variance."""
        return width + 1
