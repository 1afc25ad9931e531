"""From points in the first frame to points in a whole video, as JHMDB's joints are propagated.

Every point is a channel of labels: a Gaussian of half a cell on the grid of the features (the protocol of CRW's code;
its channel for the background does not change what is read out, and is left out). A point is read out as the mean of
the few cells with the most of it, weighted by how much they have.
"""

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from lightning_binding.crw.encoding import Encode, EncodedVideo, Watcher
from lightning_binding.crw.propagation import propagate_frames
from lightning_binding.crw.settings import PropagationSettings
from lightning_binding.errors import InputError

SIGMA = 0.5  # of the Gaussians, in cells


def track(
    video: Iterable[Tensor],
    points: Tensor,
    encode: Encode,
    settings: PropagationSettings,
    multiple: int = 1,
    batch: int = 1,
    subcell: bool = False,
    watcher: Watcher | None = None,
) -> Iterator[Tensor]:
    """Points of a video from the points of its first frame, one frame after another.

    Args:
        video: Frames uint8 (3, H, W), of one size: a tensor (T, 3, H, W), a list, or a stream, of which none is kept.
        points: x and y in pixels of the video, (K, 2); (0, 0) is the first pixel. NaN where there is none.
        encode: Maps uint8 frames (F, 3, h', w') to features (F, C, h, w).
        settings: How labels are propagated.
        multiple: What the encoder needs height and width to be a multiple of.
        batch: Frames that are read ahead and encoded together.
        subcell: Put each Gaussian where the point is. The protocol puts it on the nearest cell, which its numbers
            include and which is up to half a cell away.
        watcher: Sees every frame before it is encoded, and may adapt the encoder; see `crw.adaptation`.

    Yields:
        x and y in pixels, (K, 2); NaN for a point that was lost, outside of the first frame, or NaN there. Those of the
        first frame are the points given.

    Raises:
        InputError: If the points are not (K, 2), or there is no frame.
    """
    if points.ndim != 2 or points.shape[1] != 2 or len(points) == 0:
        raise InputError(f"the points have the shape {tuple(points.shape)}, expected x and y of one or more, (K, 2).")
    encoded = EncodedVideo(video, encode, settings, multiple, batch, watcher)
    (height, width), first = encoded.size, encoded.peek()
    points = points if points.dtype == torch.float64 else points.float()
    cell = points.new_tensor([width / first.shape[-1], height / first.shape[-2]])  # its width and height in pixels
    labels = gaussians((points / cell).to(first.device), first.shape[-2], first.shape[-1], subcell)
    for time, found in enumerate(propagate_frames(encoded, labels, settings, renew=encoded.renew)):
        yield coordinates(found, settings.point_cells).to(points) * cell if time else points


def gaussians(points: Tensor, height: int, width: int, subcell: bool = False) -> Tensor:
    """A channel for every point, (height, width, K), 1 where the point is and 0 more than three deviations away.

    Args:
        points: x and y in cells, (K, 2).
        height: Rows of the grid.
        width: Columns of the grid.
        subcell: Centre them on the points themselves, not on the nearest cells.
    """
    points = points if subcell else (points + 0.5).floor()

    def along(axis: Tensor, size: int) -> Tensor:  # (size, K)
        distance = torch.arange(size, device=axis.device)[:, None] - axis
        return (-(distance**2) / (2 * SIGMA**2)).exp() * (distance.abs() <= 3 * SIGMA)

    return (along(points[:, 1], height)[:, None] * along(points[:, 0], width)).nan_to_num()


def coordinates(labels: Tensor, cells: int = 3) -> Tensor:
    """Coordinates x and y in cells, (K, 2), from labels (h, w, K); NaN for a point that no cell has.

    Args:
        labels: A channel for every point.
        cells: Cells with the most of a point that it is read out from.
    """
    width = labels.shape[1]
    share, place = labels.flatten(0, 1).topk(min(cells, labels.shape[:2].numel()), dim=0)
    share = share / share.sum(0)  # NaN where there is nothing
    return torch.stack([(place % width * share).sum(0), (place // width * share).sum(0)], 1)
