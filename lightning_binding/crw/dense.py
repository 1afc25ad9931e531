"""From video to nodes: every cell of the feature map of a whole frame.

Cheaper than patches, but a cell can tell where it is from the padding or from a transformer's positions, and nodes that
only know their place walk home perfectly. The guard: the first frame is encoded a second time through another crop, and
walks must end where the content of their start went, which a place alone does not tell.
"""

import torch
from einops import rearrange
from torch import Tensor

from lightning_binding.crw.nodes import Encoder, NodeMaker, Nodes
from lightning_binding.crw.patches import random_crops, resample
from lightning_binding.errors import InputError


class DenseGrid(NodeMaker):
    """Cells of the feature map of each frame, with a guard against the position shortcut.

    Args:
        frame_size: Height and width that each frame's crop is resized to, in pixels.
        scale: Range of the share of a frame's area that its crop keeps, in (0, 1].
        ratio: Range of that crop's width over its height.
        guard: Whether walks end in a second view of the first frame; without it, nodes may learn their place alone.
        per_frame: Whether every frame has a crop of its own; otherwise a clip has one, and the second view another.

    Raises:
        InputError: If the range of the crop is empty.
    """

    def __init__(
        self,
        frame_size: int = 256,
        scale: tuple[float, float] = (0.4, 1.0),
        ratio: tuple[float, float] = (0.8, 1.25),
        guard: bool = True,
        per_frame: bool = False,
    ) -> None:
        super().__init__()
        if not 0 < scale[0] <= scale[1] <= 1:
            raise InputError(f"scale={scale} must be a range within (0, 1].")
        self.frame_size, self.scale, self.ratio = frame_size, scale, ratio
        self.guard, self.per_frame = guard, per_frame

    def forward(self, video: Tensor, encoder: Encoder, generator: torch.Generator | None = None) -> Nodes:
        """Encodes a video (B, T, 3, H, W), and its first frame again; see `Nodes`."""
        batch, time = video.shape[:2]
        crops = (time if self.per_frame else 1) + self.guard
        boxes = random_crops((batch, crops), self.scale, self.ratio, video, generator)
        if not self.per_frame:
            boxes = torch.cat([boxes[:, :1].expand(-1, time, -1), boxes[:, 1:]], 1)
        frames = torch.cat([video, video[:, :1]], 1) if self.guard else video
        pictures = resample(frames.flatten(0, 1), boxes.flatten(0, 1)[:, None], self.frame_size)[:, 0]
        features = encoder(pictures)
        height, width = features.shape[-2:]
        cells = rearrange(features, "(b t) c h w -> b t (h w) c", b=batch)
        if not self.guard:
            return Nodes(cells, None, None)
        return Nodes(cells[:, :time], cells[:, time], same_place(boxes[:, 0], boxes[:, time], height, width))

    def without_chance(self, frame_size: int) -> "DenseGrid":
        """The cells of whole frames, in their own resolution."""
        return DenseGrid(frame_size, (1.0, 1.0), (1.0, 1.0), guard=False)


def same_place(start: Tensor, end: Tensor, height: int, width: int) -> Tensor:
    """The cell of one crop of a frame that shows what each cell of another crop shows.

    Args:
        start: Left, top, width, height of a crop in shares of the frame, (B, 4).
        end: The same of the other crop, (B, 4).
        height: Rows of both feature maps.
        width: Columns of both feature maps.

    Returns:
        For each cell of `start`, the number of the cell of `end` that holds its centre, or -1, (B, height * width).
    """
    y = (torch.arange(height, device=start.device) + 0.5) / height
    x = (torch.arange(width, device=start.device) + 0.5) / width
    column = ((start[:, :1] + start[:, 2:3] * x - end[:, :1]) / end[:, 2:3] * width).floor().long()
    row = ((start[:, 1:2] + start[:, 3:] * y - end[:, 1:2]) / end[:, 3:] * height).floor().long()
    inside = ((row >= 0) & (row < height))[:, :, None] & ((column >= 0) & (column < width))[:, None]
    return torch.where(inside, row[:, :, None] * width + column[:, None], -1).flatten(1)
