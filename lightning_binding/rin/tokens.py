"""Between pictures and tokens: patches of images and videos as rows of a matrix, and back.

An image is a video of one frame. The numbers of a patch are ordered (time, row, column, channel), as TensorFlow's
convolution kernel and `depth_to_space` order them; torch's `pixel_shuffle`, channel first, differs.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor


@dataclass(frozen=True)
class Patches:
    """A grid of patches.

    Attributes:
        temporal: Frames of a patch, s.
        spatial: Height and width of a patch in pixels, p.
        channels: Channels of the picture, C.
    """

    temporal: int
    spatial: int
    channels: int

    @property
    def size(self) -> int:
        """Numbers in a patch, P = s p^2 C."""
        return self.temporal * self.spatial**2 * self.channels

    def count(self, frames: int, height: int, width: int) -> int:
        """Patches of a video; a last temporal patch that is not full counts (it is padded with zeros)."""
        return -(-frames // self.temporal) * (height // self.spatial) * (width // self.spatial)

    def coordinates(self, frames: int, height: int, width: int) -> Tensor:
        """Coordinates of the patches of a video in the order of the rows, (n, 3): time, row, column."""
        axes = (-(-frames // self.temporal), height // self.spatial, width // self.spatial)
        return torch.cartesian_prod(*[torch.arange(length) for length in axes])

    def clip_positions(self, frames: int, context_frames: int, size: int, dim: int) -> Tensor:
        """Sines and cosines for the patches of a clip, the noisy frames first: (n, dim).

        In time the context comes first, among the rows last; pictures have no axis of time.

        Args:
            frames: Frames of the clip, the context among them.
            context_frames: Clean frames at its beginning.
            size: Height and width of the frames.
            dim: Width of the rows.
        """
        context = self.coordinates(context_frames, size, size)
        noisy = self.coordinates(frames - context_frames, size, size)
        if len(context):
            noisy[:, 0] += 1 + context[:, 0].max()
        return sinusoidal_positions(torch.cat([noisy, context])[:, 0 if frames > 1 else 1 :], dim)

    def clip_rows(self, video: Tensor, context: Tensor | None) -> Tensor:
        """Rows (B, n, P) of noisy frames (B, T, C, H, W), and after them those of the context, if there is one."""
        rows = self.to_rows(video)
        return rows if context is None else torch.cat([rows, self.to_rows(context)], dim=1)

    def to_rows(self, video: Tensor) -> Tensor:
        """Cuts a video (B, T, C, H, W) into rows (B, n, P)."""
        missing = -video.shape[1] % self.temporal  # "SAME" padding of TensorFlow, which puts the odd one last
        if missing:
            video = F.pad(video, (0, 0, 0, 0, 0, 0, missing // 2, missing - missing // 2))
        return rearrange(
            video,
            "b (t s) c (h p) (w q) -> b (t h w) (s p q c)",
            s=self.temporal,
            p=self.spatial,
            q=self.spatial,
        )

    def to_video(self, rows: Tensor, frames: int, height: int, width: int) -> Tensor:
        """Puts rows (B, n, P) together as a video (B, T, C, H, W); frames beyond T are cut off."""
        video = rearrange(
            rows,
            "b (t h w) (s p q c) -> b (t s) c (h p) (w q)",
            s=self.temporal,
            p=self.spatial,
            q=self.spatial,
            h=height // self.spatial,
            w=width // self.spatial,
        )
        return video[:, :frames]


def sinusoidal_positions(coordinates: Tensor, dim: int, longest: float = 100.0) -> Tensor:
    """Sines and cosines of coordinates, side by side for each axis ("Attention is all you need", section 3.5).

    Args:
        coordinates: Integers (n, axes).
        dim: Width d; what does not divide by twice the number of axes is filled with zeros.
        longest: Ratio of the slowest wavelength to the fastest, which is 2 pi.

    Returns:
        Numbers in [-1, 1], (n, d).
    """
    each = dim // (2 * coordinates.shape[1])
    frequency = longest ** -(torch.arange(each) / each)
    angle = (coordinates.float()[:, :, None] * frequency).flatten(1)
    return F.pad(torch.cat([angle.sin(), angle.cos()], 1), (0, dim - 2 * angle.shape[1]))
