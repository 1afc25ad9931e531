"""The small parts around the backbone: normalised pixels on the way in, the projection on the way out."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Normalise(nn.Module):
    """Scales uint8 frames (..., 3, H, W) to [0, 1] and normalises their channels.

    Args:
        mean: Channel means of numbers in [0, 1].
        std: Channel deviations.
    """

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(std)[:, None, None], persistent=False)
        self.mean: Tensor
        self.std: Tensor

    def forward(self, frames: Tensor) -> Tensor:
        """Normalised frames."""
        return (frames.to(self.mean.dtype) / 255 - self.mean) / self.std


def projection(channels: int, dim: int, depth: int) -> nn.Module:
    """The head of the original code: linear layers with `depth` hidden ones between, or nothing at -1."""
    if depth < 0:
        return nn.Identity()
    layers: list[nn.Module] = []
    for _ in range(depth):
        layers += [nn.Linear(channels, channels), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(channels, dim))
