"""Contour accuracy F: how much of the outlines of two masks lies close to the other (Perazzi et al., CVPR 2016).

Masks of ids become bit planes, a bit for each object, so that every operation here serves all objects at once.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from lightning_binding.errors import InputError

GROUP = 4  # objects that share a byte: the prediction's are its lower bits, the target's the upper


def disk_radius(height: int, width: int, tolerance: float = 0.008) -> int:
    """Pixels by which outlines may differ.

    Args:
        height: Of the masks.
        width: Of the masks.
        tolerance: Share of the diagonal, rounded up to whole pixels; from 1 on, pixels.

    Raises:
        InputError: If the tolerance is not positive, or is no whole number of pixels.
    """
    if tolerance <= 0 or (tolerance > 1 and tolerance % 1):
        raise InputError(f"tolerance={tolerance} must be a share of the diagonal above 0, or whole pixels from 1 on.")
    return int(tolerance) if tolerance >= 1 else math.ceil(tolerance * math.sqrt(height**2 + width**2))


def boundary_map(planes: Tensor) -> Tensor:
    """Marks pixels that differ from their right, lower, or lower right neighbour.

    Args:
        planes: A mask, bool (H, W), or bit planes, uint8 (H, W), whose bits are masks of their own.

    Returns:
        The boundaries, of the same type and shape. Beyond the last row and column there are no neighbours.
    """
    some = _with_neighbours(torch.bitwise_or, planes)
    every = _with_neighbours(torch.bitwise_and, planes)
    return some ^ every


def _with_neighbours(operator: Callable[[Tensor, Tensor], Tensor], planes: Tensor) -> Tensor:
    """Combines each pixel with the three neighbours of `boundary_map`."""
    row, joined = planes.clone(), torch.empty_like(planes)
    row[:, :-1] = operator(planes[:, :-1], planes[:, 1:])
    joined[-1], joined[:-1] = row[-1], operator(row[:-1], row[1:])
    return joined


def dilate(planes: Tensor, radius: int) -> Tensor:
    """Spreads what is set over the disk of pixels at most `radius` away.

    The disk is a stack of rows. Rows grow by doubling, so all their widths cost a handful of operations, and on a
    canvas with empty margins a shift in any direction is an offset.

    Args:
        planes: Bit planes, uint8 (H, W).
        radius: In pixels.

    Returns:
        uint8 (H, W).
    """
    height, width = planes.shape
    stride = width + radius  # empty columns between rows: what leaves one does not enter the next
    canvas = planes.new_zeros(height + 2 * radius, stride)
    canvas[radius : radius + height, :width] = planes
    run, length = canvas.flatten(), 1  # run[i]: all of the canvas from i to i + length
    spread = torch.zeros_like(run)
    for half, row in sorted((math.isqrt(radius**2 - row**2), row) for row in range(-radius, radius + 1)):
        while length < 2 * half + 1:
            step = min(length, 2 * half + 1 - length)
            run, length = run[:-step] | run[step:], length + step
        shift = half + row * stride
        place = slice(max(shift, 0), min(shift + len(run), len(spread)))
        spread[place] |= run[place.start - shift : place.stop - shift]
    return spread.view_as(canvas)[radius : radius + height, :width]


def boundary_counts(prediction: Tensor, target: Tensor, objects: int, radius: int) -> Tensor:
    """Counts boundary pixels of every object in two masks, and those close to a boundary in the other.

    Args:
        prediction: Ids, uint8 (H, W); only 1 to `objects` count.
        target: Ids, uint8 (H, W).
        objects: Number of objects.
        radius: How far close is, in pixels.

    Returns:
        int64 (4, objects): boundary pixels of the prediction and of the target, then those that are close.
    """
    counts = []
    for first in range(0, objects, GROUP):
        boundary = boundary_map(_planes(prediction - first) | (_planes(target - first) << GROUP))
        near = dilate(boundary, radius)
        near = (near << GROUP) | (near >> GROUP)  # each object meets itself in the other mask
        counts.append(torch.stack([_count(boundary), _count(boundary & near)]).view(4, GROUP))
    return torch.cat(counts, 1)[:, :objects]


def _planes(ids: Tensor) -> Tensor:
    """Bit planes of the ids 1 to `GROUP`."""
    return ((1 << ids.clamp(max=GROUP + 1)) >> 1) & ((1 << GROUP) - 1)


def _count(planes: Tensor) -> Tensor:
    """How often each bit is set, int64 (8,)."""
    words = F.pad(planes.flatten(), (0, -planes.numel() % 8)).view(torch.int64)
    used = words[words != 0].view(torch.uint8)  # boundaries are sparse: most words of eight pixels are empty
    values = torch.arange(256, device=planes.device)
    bits = (values[:, None] >> values[:8]) & 1
    return (used.bincount(minlength=256)[:, None] * bits).sum(0)


def f_measure(counts: Tensor) -> Tensor:
    """Harmonic mean of precision and recall.

    Args:
        counts: (4, ...) as of `boundary_counts`.

    Returns:
        float64 (...) in [0, 1]: 1 where neither mask has a boundary, 0 where one alone has.
    """
    of_prediction, of_target, *close = counts.double()
    precision, recall = close[0] / of_prediction, close[1] / of_target
    found = (2 * precision * recall / (precision + recall)).nan_to_num(0)
    return torch.where(of_prediction + of_target == 0, 1.0, found)
