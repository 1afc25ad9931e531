"""How far an agent gets around: the entropy of the places where it has been."""

from collections.abc import Sequence

import torch
from torch import Tensor

Extent = Sequence[tuple[float, float]]


def occupancy(positions: Tensor, extent: Extent | None = None, bins: int = 100) -> Tensor:
    """How often each cell of a grid was visited.

    Args:
        positions: Places, (..., 2).
        extent: Lowest and highest x, and y; None takes those of the places.
        bins: Cells along each axis.

    Returns:
        Counts (bins, bins), x first.
    """
    flat = positions.reshape(-1, 2).double()
    if extent is None:
        low, high = flat.amin(0), flat.amax(0)
    else:
        low, high = (torch.tensor(each, dtype=torch.float64) for each in zip(*extent, strict=True))
    share = (flat - low) / (high - low).clamp(min=1e-12)
    cell = (share * bins).floor().long().clamp(0, bins - 1)
    return torch.bincount(cell[:, 0] * bins + cell[:, 1], minlength=bins**2).reshape(bins, bins)


def coverage_entropy(positions: Tensor, extent: Extent | None = None, bins: int = 100) -> float:
    """Entropy of the visited cells, in nats between 0 and 2 ln(bins); arguments as `occupancy`."""
    counts = occupancy(positions, extent, bins).double()
    share = counts / counts.sum()
    return float(-torch.special.xlogy(share, share).sum())
