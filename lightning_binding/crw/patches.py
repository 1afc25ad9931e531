"""From video to nodes: the pictures that the encoder sees, cut out of the frames in one resampling on the device.

A node is a patch, encoded alone, so nothing tells the encoder where in the frame it was (section 3.1 of arXiv
2006.14613). Grid, the crop of the frame, the crop and the colour of each patch are one affine map for each patch, so
every pixel is interpolated once.
"""

import copy
import math

import torch
from einops import rearrange
from torch import Tensor
from torch.nn import functional as F

from lightning_binding.crw.nodes import Encoder, NodeMaker, Nodes
from lightning_binding.errors import InputError


class PatchGrid(NodeMaker):
    """Overlapping patches of every frame, each cropped and coloured at random.

    Args:
        patch_size: Height and width of the pictures that are cut out, in pixels of the resized frame.
        grid_stride: Pixels from one patch to the next.
        frame_size: Height and width that a frame's crop is resized to.
        frame_scale: Range of the share of a frame's area that its crop keeps, drawn for each frame; (1, 1) keeps it.
        frame_ratio: Range of that crop's width over its height.
        patch_scale: Range of the share of a patch's area that its crop keeps, drawn for each patch and frame.
        patch_ratio: Range of that crop's width over its height.
        colour: Largest relative change of a patch's brightness, contrast and saturation; 0 for none.

    Raises:
        InputError: If the patches do not fit into the frame, or a range is empty.
    """

    def __init__(
        self,
        patch_size: int = 64,
        grid_stride: int = 32,
        frame_size: int = 256,
        frame_scale: tuple[float, float] = (1.0, 1.0),
        frame_ratio: tuple[float, float] = (0.7, 1.3),
        patch_scale: tuple[float, float] = (0.7, 0.9),
        patch_ratio: tuple[float, float] = (3 / 4, 4 / 3),
        colour: float = 0.0,
    ) -> None:
        super().__init__()
        if not 0 < patch_size <= frame_size or grid_stride < 1:
            raise InputError(f"patches of {patch_size} px every {grid_stride} px do not fit into {frame_size} px.")
        for name, (low, high) in {"frame_scale": frame_scale, "patch_scale": patch_scale}.items():
            if not 0 < low <= high <= 1:
                raise InputError(f"{name}=({low}, {high}) must be a range within (0, 1].")
        self.patch_size, self.grid_stride, self.frame_size, self.colour = patch_size, grid_stride, frame_size, colour
        self.frame_scale, self.frame_ratio = frame_scale, frame_ratio
        self.patch_scale, self.patch_ratio = patch_scale, patch_ratio
        corner = torch.arange(0, frame_size - patch_size + 1, grid_stride)
        self.grid = len(corner)
        top, left = torch.meshgrid(corner, corner, indexing="ij")
        # The square of each patch as left, top, width, height in shares of the frame, (N, 4).
        size = torch.full_like(left, patch_size)
        boxes = torch.stack([left, top, size, size], -1).flatten(0, 1) / frame_size
        self.register_buffer("boxes", boxes, persistent=False)
        self.boxes: Tensor

    @property
    def nodes(self) -> int:
        """Patches of a frame, N."""
        return len(self.boxes)

    def forward(self, video: Tensor, encoder: Encoder, generator: torch.Generator | None = None) -> Nodes:
        """Encodes every patch of a video (B, T, 3, H, W) alone, and averages its features; see `Nodes`."""
        pictures = self.cut(video, generator)
        features = encoder(pictures.flatten(0, 2)).mean((-2, -1))
        return Nodes(features.view(*pictures.shape[:3], -1), None, None)

    def without_chance(self, frame_size: int) -> "PatchGrid":
        """The same grid on whole frames."""
        plain = copy.copy(self)
        plain.frame_scale, plain.patch_scale, plain.colour = (1.0, 1.0), (1.0, 1.0), 0.0
        return plain

    def cut(self, video: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Cuts a video into pictures of its patches.

        Args:
            video: Frames (B, T, 3, H, W), floating point.
            generator: Source of the random numbers.

        Returns:
            Pictures (B, T, N, 3, patch_size, patch_size), in the video's range but for the change of colour.
        """
        frames = video.flatten(0, 1)
        boxes = compose(self._frame_crops(frames, generator)[:, None], self._patch_crops(frames, generator))
        pictures = resample(frames, boxes, self.patch_size)
        if self.colour:
            pictures = jitter_colour(pictures, self.colour, generator)
        return pictures.view(*video.shape[:2], *pictures.shape[1:])

    def _frame_crops(self, frames: Tensor, generator: torch.Generator | None) -> Tensor:
        if self.frame_scale == (1.0, 1.0):
            return torch.cat([frames.new_zeros(len(frames), 2), frames.new_ones(len(frames), 2)], 1)
        return random_crops((len(frames),), self.frame_scale, self.frame_ratio, frames, generator)

    def _patch_crops(self, frames: Tensor, generator: torch.Generator | None) -> Tensor:
        boxes = self.boxes.to(frames.dtype).expand(len(frames), -1, 4)
        if self.patch_scale == (1.0, 1.0):
            return boxes
        return compose(boxes, random_crops(boxes.shape[:2], self.patch_scale, self.patch_ratio, frames, generator))


def random_crops(
    shape: torch.Size | tuple[int, ...],
    scale: tuple[float, float],
    ratio: tuple[float, float],
    like: Tensor,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Boxes of torchvision's `RandomResizedCrop`: left, top, width, height in shares of the whole, (*shape, 4).

    The area is uniform, the ratio log-uniform; a side that would be longer than the whole is cut to it.
    """
    area, aspect, x, y = torch.rand(4, *shape, device=like.device, dtype=like.dtype, generator=generator)
    area = scale[0] + (scale[1] - scale[0]) * area
    low, high = math.log(ratio[0]), math.log(ratio[1])
    aspect = torch.exp(low + (high - low) * aspect)
    width, height = (area * aspect).sqrt().clamp(max=1), (area / aspect).sqrt().clamp(max=1)
    return torch.stack([x * (1 - width), y * (1 - height), width, height], -1)


def compose(outer: Tensor, inner: Tensor) -> Tensor:
    """Boxes whose place is given inside other boxes, as boxes of the whole: left, top, width, height, (..., 4)."""
    size = outer[..., 2:] * inner[..., 2:]
    return torch.cat([outer[..., :2] + outer[..., 2:] * inner[..., :2], size.expand(*inner.shape[:-1], 2)], -1)


def resample(frames: Tensor, boxes: Tensor, size: int) -> Tensor:
    """Cuts boxes out of frames, bilinearly, at a common size.

    Args:
        frames: Frames (F, 3, H, W).
        boxes: Left, top, width, height in shares of the frame, (F, N, 4).
        size: Height and width of what is cut out, in pixels.

    Returns:
        Pictures (F, N, 3, size, size).
    """
    count = boxes.shape[1]
    step = (torch.arange(size, device=frames.device, dtype=frames.dtype) + 0.5) / size
    left, top, width, height = boxes[..., None].unbind(-2)
    x, y = 2 * (left + width * step) - 1, 2 * (top + height * step) - 1  # (F, N, size) in [-1, 1]
    grid = torch.stack(
        [x[:, :, None, :].expand(-1, -1, size, -1), y[:, :, :, None].expand(-1, -1, -1, size)], -1
    ).flatten(1, 2)
    pictures = F.grid_sample(frames, grid, mode="bilinear", padding_mode="border", align_corners=False)
    return rearrange(pictures, "f c (n h) w -> f n c h w", n=count)


def jitter_colour(pictures: Tensor, strength: float, generator: torch.Generator | None = None) -> Tensor:
    """Changes brightness, contrast and saturation of each picture (..., 3, H, W) by factors in 1 +- strength."""
    shape = pictures.shape[:-3]
    factors = torch.rand(3, *shape, 1, 1, 1, device=pictures.device, dtype=pictures.dtype, generator=generator)
    brightness, contrast, saturation = 1 + strength * (2 * factors - 1)
    luma = [pictures.new_full((1, 1), share) for share in (0.299, 0.587, 0.114)]  # of ITU-R BT.601, as in PIL
    weights = torch.stack(luma)
    grey = (pictures * weights).sum(-3, keepdim=True)
    pictures = brightness * (saturation * pictures + (1 - saturation) * grey)
    mean = (brightness * grey).mean((-2, -1), keepdim=True)
    changed: Tensor = contrast * pictures + (1 - contrast) * mean
    return changed
