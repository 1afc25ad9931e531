"""A mixture of Gaussians whose components own whole trajectories, and its densities of single states.

CARML's task scaffold (arXiv 1912.04226) draws one task z for a trajectory and its states independently given the task,
in whatever order: q(tau) = sum_z q(z) prod_t q(s_t|z). `lightning_binding.carml.em` fits it.
"""

import math
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Self

import torch
from torch import Tensor

BLOCK = 2**23  # numbers that one step of a computation over many states may make


@dataclass(frozen=True)
class GaussianMixture:
    """K Gaussians in d dimensions.

    Attributes:
        log_prior: log q(z), (K,).
        means: (K, d).
        scale: Lower Cholesky factors of the covariances (K, d, d), or deviations along the axes (K, d).
    """

    log_prior: Tensor
    means: Tensor
    scale: Tensor

    @property
    def components(self) -> int:
        """Number of components, K."""
        return len(self.log_prior)

    @cached_property
    def whitening(self) -> Tensor:
        """What makes a component's spread round: inverse Cholesky factors (K, d, d), or inverse deviations (K, d)."""
        if self.scale.ndim == 2:
            return 1 / self.scale
        identity = torch.eye(self.means.shape[1], dtype=self.scale.dtype, device=self.scale.device)
        inverse: Tensor = torch.linalg.solve_triangular(self.scale, identity.expand_as(self.scale), upper=False)
        return inverse

    @cached_property
    def log_volume(self) -> Tensor:
        """Half the logarithm of the determinant of 2 pi times the covariance, (K,)."""
        diagonal = self.scale if self.scale.ndim == 2 else self.scale.diagonal(dim1=-2, dim2=-1)
        return diagonal.log().sum(-1) + self.means.shape[1] / 2 * math.log(2 * math.pi)

    def log_likelihood(self, states: Tensor) -> Tensor:
        """Log q(s|k) of states (..., d): (..., K), in nats; from differences, so exact far away, too."""
        flat = states.reshape(-1, states.shape[-1])
        rows = max(1, BLOCK // self.means.numel())
        parts = [self._log_likelihood(part) for part in torch.split(flat, rows)] or [flat.new_zeros(0, self.components)]
        return torch.cat(parts).reshape(*states.shape[:-1], self.components)

    def _log_likelihood(self, states: Tensor) -> Tensor:
        apart = states.unsqueeze(1) - self.means
        diagonal = self.scale.ndim == 2
        white = apart * self.whitening if diagonal else torch.einsum("nkd,ked->nke", apart, self.whitening)
        return -0.5 * white.square().sum(-1) - self.log_volume

    def log_likelihood_of_moments(self, count: int, first: Tensor, second: Tensor) -> Tensor:
        """The sums over time of log q(s_t|k) of trajectories, from their moments alone.

        Args:
            count: States of a trajectory, T.
            first: Sums of their states, (N, d).
            second: Sums of the products of their features as `Covariance.second` gives them, (N, P).

        Returns:
            (N, K), in nats.
        """
        if self.scale.ndim == 2:
            precision = self.whitening.square()
            pull = precision * self.means
        else:
            matrix = self.whitening.transpose(-1, -2) @ self.whitening
            pull = (matrix @ self.means.unsqueeze(-1)).squeeze(-1)
            precision = matrix.flatten(1)
        constant = count * ((pull * self.means).sum(-1) / 2 + self.log_volume)
        return first @ pull.T - second @ precision.T / 2 - constant

    def sample(self, z: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """A state of each task in z (...): (..., d)."""
        noise = torch.randn((*z.shape, self.means.shape[1]), generator=generator, dtype=self.means.dtype)
        noise, scale = noise.to(self.means.device), self.scale[z]
        spread = noise * scale if self.scale.ndim == 2 else (scale @ noise.unsqueeze(-1)).squeeze(-1)
        return self.means[z] + spread

    def reordered(self, order: Tensor) -> Self:
        """The same mixture with component `order[k]` in the place of k; `order` is (K,)."""
        return replace(self, **{name: value[order] for name, value in self.tensors().items()})

    def moved(self, shift: Tensor) -> Self:
        """The mixture with all means moved by `shift` (d,)."""
        return replace(self, means=self.means + shift)

    def blurred(self, noise: float) -> Self:
        """The density of states that are seen through noise: all covariances plus `noise` times the identity."""
        if noise == 0:
            return self
        if self.scale.ndim == 2:
            return replace(self, scale=(self.scale.square() + noise).sqrt())
        identity = torch.eye(self.means.shape[1], dtype=self.scale.dtype, device=self.scale.device)
        return replace(self, scale=torch.linalg.cholesky(self.scale @ self.scale.mT + noise * identity))

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> Self:
        """The mixture on another device, or of another type of numbers."""
        return replace(self, **{name: value.to(device, dtype) for name, value in self.tensors().items()})

    def tensors(self) -> dict[str, Tensor]:
        """Its numbers by name, for a checkpoint: `GaussianMixture(**tensors)` is the mixture again."""
        return {field.name: getattr(self, field.name) for field in fields(self)}
