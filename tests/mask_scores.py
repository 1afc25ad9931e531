"""J and F by others: vos-benchmark, and distances of all pairs of boundary pixels; and masks to score."""

import lightning_binding  # isort: skip  # noqa: F401  (before anything imports torchvision)

import sys
from types import SimpleNamespace

import numpy as np
from scipy.ndimage import gaussian_filter

try:
    import cv2  # noqa: F401
except ImportError:  # the OpenCV that vos-benchmark asks for wants libGL; all that is called of it is a dilation
    from skimage.morphology import dilation

    sys.modules["cv2"] = SimpleNamespace(dilate=dilation)  # type: ignore[assignment]
from vos_benchmark.evaluator import Evaluator


def by_vos_benchmark(prediction: np.ndarray, target: np.ndarray, objects: int) -> np.ndarray:
    """J and F (2, T, objects) of ids (T, H, W).

    Each frame has a new evaluator, which knows no objects but the frame's: what neither mask has scores 1. Void, and
    what is no object, is taken out of the target, since the evaluator knows neither.
    """
    scores = np.ones((2, len(target), objects))
    for frame, truth, found in zip(prediction, target, scores.swapaxes(0, 1), strict=True):
        evaluator = Evaluator()
        evaluator.feed_frame(frame, np.where(truth > objects, 0, truth))
        for index in evaluator.object_iou:
            found[:, index - 1] = evaluator.object_iou[index][0], evaluator.boundary_f[index][0]
    return scores


def slow_boundary(mask: np.ndarray) -> np.ndarray:
    """Pixels that differ from a neighbour to the right, below, or both; beyond the border is what is at the border."""
    height, width = mask.shape
    found = np.zeros_like(mask)
    for y in range(height):
        for x in range(width):
            block = {bool(mask[min(y + dy, height - 1), min(x + dx, width - 1)]) for dy in (0, 1) for dx in (0, 1)}
            found[y, x] = len(block) == 2
    return found


def slow_counts(prediction: np.ndarray, target: np.ndarray, radius: int) -> list[int]:
    """Boundary pixels of two masks, and those within the radius of one of the other, by all distances."""
    places = [np.argwhere(slow_boundary(mask)) for mask in (prediction, target)]
    near = np.square(places[0][:, None] - places[1][None]).sum(-1) <= radius**2
    return [len(places[0]), len(places[1]), int(near.any(1).sum()), int(near.any(0).sum())]


def slow_f(prediction: np.ndarray, target: np.ndarray, radius: int) -> float:
    """F of two masks, case by case."""
    ours, theirs, close_ours, close_theirs = slow_counts(prediction, target, radius)
    if not ours and not theirs:
        return 1.0
    if not close_ours:
        return 0.0
    precision, recall = close_ours / ours, close_theirs / theirs
    return 2 * precision * recall / (precision + recall)


def slow_statistics(values: np.ndarray) -> tuple[float, float, float]:
    """Mean, recall and decay of scores (n,), with quarters by rounding, as the official code has them."""
    ends = np.round(np.linspace(1, len(values), 5) + 1e-10).astype(int) - 1
    quarters = [values[ends[i] : ends[i + 1] + 1] for i in range(4)]
    return float(values.mean()), float((values > 0.5).mean()), float(quarters[0].mean() - quarters[3].mean())


def blobs(rng: np.random.Generator, frames: int, height: int, width: int, objects: int, sigma: float) -> np.ndarray:
    """Ids (T, H, W) of smooth shapes that move, as blurred noise."""
    noise = rng.standard_normal((objects, frames, height, width))
    smooth = np.stack([gaussian_filter(each, (1, sigma, sigma)) for each in noise])
    return np.where(smooth.max(0) > 0.5 * smooth.std(), smooth.argmax(0) + 1, 0).astype(np.uint8)


def square(side: int, top: int, left: int, height: int = 480, width: int = 854) -> np.ndarray:
    """A mask (H, W) of a square."""
    mask = np.zeros((height, width), np.uint8)
    mask[top : top + side, left : left + side] = 1
    return mask
