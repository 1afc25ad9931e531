"""J and F of 4 objects at 480 x 854 against PyPI's vos-benchmark, in one run on one thread.

    python benchmarks/jaccard_boundary.py --out benchmarks/results/jaccard_boundary.json

Both are given the same masks, in turns over several rounds; the best round counts, in time of the processor. Two kinds
of masks: objects with wavy outlines that leave much of the frame empty, as in videos, and blurred noise that fills the
frame. The scores of every frame are compared too.
"""

import argparse
import json
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import lightning_binding  # noqa: F401  # isort: skip  (before anything imports torchvision)
import cv2
import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from suite.setting import commit
from torch import Tensor
from vos_benchmark.evaluator import Evaluator

from lightning_binding.metrics import JaccardBoundary
from lightning_binding.metrics.boundary import disk_radius
from lightning_binding.metrics.jaccard_boundary import frame_scores

HEIGHT, WIDTH, OBJECTS = 480, 854, 4


def wavy(frames: int, shift: int) -> np.ndarray:
    """Ids (T, H, W) of ellipses with waves that move to the right."""
    masks = np.zeros((frames, HEIGHT, WIDTH), np.uint8)
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    ellipses = [(150, 200, 90, 60), (300, 350, 60, 110), (250, 560, 100, 50), (330, 640, 60, 40)]
    for index, (centre, left, tall, wide) in enumerate(ellipses, start=1):
        for frame, mask in enumerate(masks):
            right = x - left - 3 * frame - shift
            wave = 1 + 0.1 * np.sin(7 * np.arctan2(y - centre, right) + shift)
            mask[((y - centre) / tall) ** 2 + (right / wide) ** 2 < wave**2] = index
    return masks


def noisy(frames: int, shift: int) -> np.ndarray:
    """Ids (T, H, W) of blurred noise."""
    noise = np.random.default_rng(0).standard_normal((OBJECTS, frames, HEIGHT, WIDTH), dtype=np.float32)
    smooth = np.stack([gaussian_filter(each, (1, 20, 20)) for each in noise])
    ids = np.where(smooth.max(0) > 0.5 * smooth.std(), smooth.argmax(0) + 1, 0)
    return np.roll(ids, (shift, shift), (1, 2)).astype(np.uint8)


def theirs(prediction: np.ndarray, target: np.ndarray) -> Evaluator:
    """A sequence as vos-benchmark scores it."""
    evaluator = Evaluator()
    for frame, truth in zip(prediction, target, strict=True):
        evaluator.feed_frame(frame, truth)
    return evaluator


def ours(prediction: Tensor, target: Tensor) -> JaccardBoundary:
    """A sequence as the metric scores it."""
    metric = JaccardBoundary(drop_ends=False)
    metric.update(prediction, target, "sequence")
    return metric


def difference(prediction: np.ndarray, target: np.ndarray) -> float:
    """The largest difference of any score of any object in any frame."""
    evaluator = theirs(prediction, target)
    pairs = zip(torch.from_numpy(prediction), torch.from_numpy(target), strict=True)
    found = torch.stack([frame_scores(*pair, OBJECTS, disk_radius(HEIGHT, WIDTH)) for pair in pairs], 2).numpy()
    both = evaluator.object_iou, evaluator.boundary_f
    expected = np.array([[scores[index] for index in range(1, OBJECTS + 1)] for scores in both])
    return float(np.abs(found - expected).max())


def seconds(score: Callable[[], object]) -> float:
    """Time of a call on its one thread: what else the machine does counts for neither."""
    start = time.process_time()
    score()
    return time.process_time() - start


def main() -> None:
    """Measures, prints and writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="JSON file to write")
    parser.add_argument("--frames", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    results = {}
    print("| masks | vos-benchmark, ms per frame | ours, ms per frame | ratio | largest difference |")
    print("| --- | --- | --- | --- | --- |")
    for name, make in (("objects", wavy), ("noise", noisy)):
        target, prediction = make(options.frames, 0), make(options.frames, 5)
        calls = {
            "vos_benchmark": partial(theirs, prediction, target),
            "ours": partial(ours, torch.from_numpy(prediction), torch.from_numpy(target)),
        }
        best = dict.fromkeys(calls, float("inf"))
        for _ in range(options.rounds):
            for method, call in calls.items():
                best[method] = min(best[method], 1000 * seconds(call) / options.frames)
        worst = difference(prediction, target)
        assert worst < 1e-9
        ratio = best["vos_benchmark"] / best["ours"]
        results[name] = {"milliseconds": best, "ratio": ratio, "difference": worst, "share": float((target > 0).mean())}
        print(f"| {name} | {best['vos_benchmark']:.2f} | {best['ours']:.2f} | {ratio:.1f} | {worst:.1e} |")
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        setup = {"threads": 1, "torch": torch.__version__, "opencv": cv2.__version__, "objects": OBJECTS}
        setup |= {
            "commit": commit(),
            "height": HEIGHT,
            "width": WIDTH,
            "frames": options.frames,
            "rounds": options.rounds,
        }
        options.out.write_text(json.dumps(setup | {"masks": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
