"""The Fréchet distance between Gaussians, and the sums that estimate a Gaussian from a stream of features."""

import torch
from torch import Tensor

from lightning_binding.errors import InputError


def square_root(matrix: Tensor) -> Tensor:
    """Symmetric root of a positive semi-definite matrix (d, d); round-off below zero counts as zero."""
    values, vectors = torch.linalg.eigh(matrix)
    root: Tensor = (vectors * values.clamp_min(0).sqrt()) @ vectors.T
    return root


def frechet_distance(mu_1: Tensor, sigma_1: Tensor, mu_2: Tensor, sigma_2: Tensor) -> Tensor:
    """|mu_1 - mu_2|^2 + tr(sigma_1 + sigma_2 - 2 (sigma_1 sigma_2)^(1/2)) (Dowson and Landau, 1982).

    The trace of the root is that of (s sigma_2 s)^(1/2) with s = sigma_1^(1/2), which is symmetric: no complex numbers,
    and covariances of less than full rank are no special case. Computed in float64 on the CPU.

    Args:
        mu_1: Mean (d,).
        sigma_1: Covariance (d, d).
        mu_2: Mean (d,).
        sigma_2: Covariance (d, d).

    Returns:
        The distance, a float64 scalar; that of equal Gaussians may be a round-off below zero.
    """
    mu_1, sigma_1, mu_2, sigma_2 = (value.detach().cpu().double() for value in (mu_1, sigma_1, mu_2, sigma_2))
    root = square_root(sigma_1)
    values = torch.linalg.eigvalsh(root @ sigma_2 @ root)
    spread: Tensor = sigma_1.trace() + sigma_2.trace() - 2 * values.clamp_min(0).sqrt().sum()
    return (mu_1 - mu_2).square().sum() + spread


def add_products_(products: Tensor, rows: Tensor, block: int = 256) -> None:
    """Adds x x^T of every row x to the upper triangle of `products`, in place.

    The sum is symmetric, so blocks below the diagonal are left out: little more than half of the arithmetic.

    Args:
        products: Sums (d, d); below the diagonal its values have no meaning.
        rows: Features (N, d), of the same type.
        block: Columns that are multiplied at a time.
    """
    for start in range(0, len(products), block):
        stop = start + block
        products[start:stop, start:].addmm_(rows[:, start:stop].T, rows[:, start:])


def moments(count: Tensor, total: Tensor, products: Tensor, unbiased: bool = True) -> tuple[Tensor, Tensor]:
    """Mean (d,) and covariance (d, d) of n samples from their sums.

    Args:
        count: Their number n.
        total: Sum of x, (d,).
        products: Upper triangle of the sum of x x^T, (d, d).
        unbiased: Divide the covariance by n - 1; False divides it by n.

    Raises:
        InputError: If there are fewer than two samples.
    """
    n = int(count)
    if n < 2:
        raise InputError(f"a Fréchet distance needs two samples on each side or more; one side has {n}.")
    mean = total / n
    products = products.triu() + products.triu(1).T
    return mean, (products - n * torch.outer(mean, mean)) / (n - int(unbiased))
