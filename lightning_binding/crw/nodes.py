"""What walks are made on: the common signature of all ways to make nodes of a video."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

Encoder = Callable[[Tensor], Tensor]  # pictures (F, 3, H, W) to features (F, C, h, w)


class Nodes(NamedTuple):
    """Features of the nodes of a clip.

    Attributes:
        features: Of every node, (B, T, N, C).
        returned: Of the first frame seen a second time, on which walks end, (B, N, C); None if they end where they
            began.
        target: The node of `returned` that each starting node should reach, (B, N), or -1 for none; None with it.
    """

    features: Tensor
    returned: Tensor | None
    target: Tensor | None


class NodeMaker(nn.Module):
    """Cuts a video up and encodes it: `PatchGrid`, `DenseGrid`, or one of your own."""

    def forward(self, video: Tensor, encoder: Encoder, generator: torch.Generator | None = None) -> Nodes:
        """Makes the nodes of a video (B, T, 3, H, W)."""
        raise NotImplementedError

    def without_chance(self, frame_size: int) -> "NodeMaker":
        """A maker of the same nodes from whole frames, without crops and colours at random, for pictures.

        Args:
            frame_size: Shorter side of the frames, in pixels.
        """
        return self
