"""Label propagation of CRW at 480 x 854 against the procedure of the original code, in one run.

    python benchmarks/crw_propagation.py --out benchmarks/results/crw_propagation

Writes the numbers (JSON) and the plot of time against pixels (PNG). The original copies the 21 key maps of every frame
of the video, and scores two frames at a time, 100 queries at a time, against all cells of all maps; the window is
added to the scores as a mask, and the k best are taken of everything. `original, streamed` is the same with the keys of
two frames at a time. Both are given the labels that ours found for the context, and must find those of the next two
frames. Their time leaves the copying of keys out.

Every candidate runs in a process of its own, in turns over several rounds; the best time of a frame counts, on all
threads by the clock and on one in time of the processor, which other work on a machine lengthens less. Memory is
the peak of the process beyond what it had after its imports, for a video of 30 frames; the original's grows by 138 MB
with each frame more. Time against the size of frames is time of the processor, on one thread; so is the memory of long
videos, since the system's allocator keeps some for each thread.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import lightning_binding  # noqa: F401  # isort: skip  (before anything imports torchvision)
import matplotlib
import numpy as np
import torch
from machine import machine, peak, resident
from matplotlib.figure import Figure
from torch import Tensor
from torch.nn import functional as F

from lightning_binding.crw.propagation import propagate_frames
from lightning_binding.crw.settings import PropagationSettings

HEIGHT, WIDTH, CHANNELS, LABELS = 60, 107, 256, 4  # of 480 x 854 pixels at stride 8
SETTINGS = PropagationSettings(context=20, top_k=10, temperature=0.05, radius=12)
FRAMES = SETTINGS.context + 10  # the last nine see a full context
SIZES = ((30, 53), (42, 75), (60, 107), (73, 131), (85, 151), (104, 185))


def video(frames: int, height: int, width: int, channels: int = CHANNELS) -> Iterator[Tensor]:
    """Feature maps (C, h, w) of a smooth texture that moves, with noise of their own."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.randn(1, channels, -(-height // 4), -(-width // 4), generator=generator)
    still = F.interpolate(coarse, (height, width), mode="bilinear")[0]
    for index in range(frames):
        yield still.roll(index, 2) + 0.5 * torch.randn(still.shape, generator=generator)


def first_labels(height: int, width: int) -> Tensor:
    """Labels (h, w, L) of regions with smooth outlines."""
    coarse = torch.randn(1, LABELS, 8, 14, generator=torch.Generator().manual_seed(1))
    regions = F.interpolate(coarse, (height, width), mode="bilinear")[0].argmax(0)
    return F.one_hot(regions, LABELS).float()


def ours(found: Path, clock: Callable[[], float] = time.perf_counter) -> dict[str, float]:
    """Best time of a frame with full context, all frames streamed; writes the labels of all frames."""
    before = resident()
    times, labels = follow(video(FRAMES, HEIGHT, WIDTH), first_labels(HEIGHT, WIDTH), SETTINGS, clock)
    memory = peak() - before
    torch.save(torch.stack(labels), found)
    return {"seconds": min(times[SETTINGS.context + 1 :]), "mib": memory}


def follow(
    frames: Iterator[Tensor], labels: Tensor, settings: PropagationSettings, clock: Callable[[], float]
) -> tuple[list[float], list[Tensor]]:
    """Times of frames without those of making their features, and labels."""
    making = 0.0

    def features() -> Iterator[Tensor]:
        nonlocal making
        start = clock()
        for frame in frames:
            making = clock() - start
            yield frame
            start = clock()

    times, found = [], []
    start = clock()
    for each in propagate_frames(features(), labels, settings):
        times.append(clock() - start - making)
        found.append(each)
        start = clock()
    return times, found


def original(found: Path, streamed: bool = False, clock: Callable[[], float] = time.perf_counter) -> dict[str, float]:
    """Time of each of the last two frames, and the largest difference of their labels from those found."""
    before = resident()
    features = torch.stack([F.normalize(frame, dim=0).flatten(1) for frame in video(FRAMES, HEIGHT, WIDTH)], 1)
    context = SETTINGS.context
    frames = torch.tensor([[0, *(max(index, 0) for index in range(time - context, time))] for time in range(FRAMES)])
    # (C, 2, 21, h w); where they are not streamed, a view of the keys of all frames.
    keys = features[:, frames[-2:]] if streamed else features[:, frames][:, -2:]
    y, x = (grid.flatten() for grid in torch.meshgrid(torch.arange(HEIGHT), torch.arange(WIDTH), indexing="ij"))
    distance = ((y[:, None] - y) ** 2 + (x[:, None] - x) ** 2).float().sqrt()
    mask = torch.where(distance < SETTINGS.radius, 0.0, -1e10)
    labels = torch.load(found).flatten(1, 2)
    start = clock()
    weights, places = neighbours(features[:, -2:], keys, mask)
    found_here = [
        torch.einsum("kq,kql->ql", weight, labels[seen].flatten(0, 1)[place])
        for weight, place, seen in zip(weights, places, frames[-2:], strict=True)
    ]
    taken = (clock() - start) / 2
    difference = float((torch.stack(found_here) - labels[-2:]).abs().max())
    return {"seconds": taken, "mib": peak() - before, "difference": difference}


@torch.no_grad()
def neighbours(queries: Tensor, keys: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Weights and places of the k best of all keys (C, b, n, h w) for queries (C, b, h w): (b, k, h w) each."""
    weights, places = [], []
    for start in range(0, queries.shape[-1], 100):
        chunk = slice(start, start + 100)
        affinity = torch.einsum("cbnk,cbq->bnkq", keys, queries[..., chunk])
        affinity[:, 1:] += mask[:, chunk]
        affinity = affinity.flatten(1, 2)
        affinity /= SETTINGS.temperature
        best, place = affinity.topk(SETTINGS.top_k, dim=1)
        weights.append(best.softmax(1))
        places.append(place)
    return torch.cat(weights, -1), torch.cat(places, -1)


def alone(run: Callable[..., dict[str, float]], found: Path) -> dict[str, float]:
    """A candidate on one thread, in time of the processor: what else the machine does counts for neither."""
    torch.set_num_threads(1)
    return run(found, clock=time.process_time)


def scaling(windowed: bool) -> list[float]:
    """Best time of a frame at each of the sizes, of the processor, on one thread."""
    torch.set_num_threads(1)
    settings = PropagationSettings(window_first_frame=windowed)
    times = []
    for height, width in SIZES:
        taken, _ = follow(video(6, height, width), first_labels(height, width), settings, time.process_time)
        times.append(min(taken[1:]))
    return times


def long(frames: int) -> float:
    """Peak memory over a video of small maps, on one thread."""
    torch.set_num_threads(1)
    before = resident()
    for _ in propagate_frames(video(frames, 24, 40, 64), first_labels(24, 40), SETTINGS):
        pass
    return peak() - before


CANDIDATES: dict[str, Callable[[Path], Any]] = {
    "ours": ours,
    "original": original,
    "original, streamed": lambda found: original(found, streamed=True),
    "ours, one thread": lambda found: alone(ours, found),
    "original, one thread": lambda found: alone(original, found),
    "windowed first frame": lambda found: scaling(windowed=True),
    "first frame without window": lambda found: scaling(windowed=False),
    "100 frames": lambda found: long(100),
    "1000 frames": lambda found: long(1000),
}


def child(name: str, threads: int, found: Path) -> Any:
    """What a candidate measures in a process of its own."""
    command = [sys.executable, __file__, "--worker", name, "--threads", str(threads), "--found", str(found)]
    run = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(run.stdout.splitlines()[-1])


def main() -> None:
    """Measures, prints and writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="path of both files, without ending")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3, help="turns that every candidate gets")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--found", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        torch.set_num_threads(options.threads)
        print(json.dumps(CANDIDATES[options.worker](options.found)))
        return
    rounds: dict[str, list[Any]] = {name: [] for name in CANDIDATES}
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(options.rounds):
            for name in CANDIDATES:
                if turn == 0 or not name.endswith((" frames", "streamed")):
                    rounds[name].append(child(name, options.threads, Path(folder) / "labels.pt"))
    comparison = {name: lowest(rounds[name]) for name in list(CANDIDATES)[:5]}
    curves = {name: np.min(rounds[name], 0) for name in ("windowed first frame", "first frame without window")}
    memory = {name: rounds[name][0] for name in ("100 frames", "1000 frames")}
    line = fitted(curves["windowed first frame"])
    report(machine(options.threads), comparison, curves, line, memory)
    assert all(row.get("difference", 0) < 1e-4 for row in comparison.values())
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        plot(curves, line, options.out.with_suffix(".png"))
        result = {"machine": machine(options.threads), "best": comparison, "memory_mib": memory, "cells": cells()}
        result |= {"seconds_against_cells": {name: list(curve) for name, curve in curves.items()}, "rounds": rounds}
        options.out.with_suffix(".json").write_text(json.dumps(result, indent=1) + "\n")


def lowest(turns: list[dict[str, float]]) -> dict[str, float]:
    """The best of each number; the worst difference."""
    return {key: (max if key == "difference" else min)(turn[key] for turn in turns) for key in turns[0]}


def cells() -> list[int]:
    """Cells of the maps of all sizes."""
    return [height * width for height, width in SIZES]


def fitted(curve: np.ndarray) -> np.ndarray:
    """The line through times, by least squares of relative errors."""
    design = np.stack([np.ones(len(SIZES)), cells()], 1)
    (constant, slope), *_ = np.linalg.lstsq(design / curve[:, None], np.ones_like(curve), rcond=None)
    return constant + slope * np.array(cells())


def report(
    setup: dict[str, Any],
    comparison: dict[str, dict[str, float]],
    curves: dict[str, np.ndarray],
    line: np.ndarray,
    memory: dict[str, float],
) -> None:
    """Prints the tables, in Markdown."""
    print(f"{setup['processor']}, {setup['threads']} threads, torch {setup['torch']}\n")
    print("| procedure | s per frame | times ours | peak MiB | times ours | largest difference of labels |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name, row in comparison.items():
        own = comparison["ours, one thread" if name.endswith("one thread") else "ours"]
        difference = f"{row['difference']:.0e}" if "difference" in row else ""
        print(f"| {name} | {row['seconds']:.2f} | {row['seconds'] / own['seconds']:.1f} ", end="")
        print(f"| {row['mib']:.0f} | {row['mib'] / own['mib']:.1f} | {difference} |")
    print("\n| map | cells | ms per frame, first frame windowed | line's ms | ms, first frame without window |")
    print("| --- | --- | --- | --- | --- |")
    for (height, width), count, *times in zip(SIZES, cells(), *list(curves.values()), line, strict=True):
        windowed, without, fit = (1000 * each for each in times)
        print(f"| {height} x {width} | {count} | {windowed:.0f} | {fit:.0f} | {without:.0f} |")
    deviation = np.abs(line / curves["windowed first frame"] - 1).max()
    print(f"\nlargest deviation from the line {deviation:.0%}; peak MiB of a video of 100 frames ", end="")
    print(f"{memory['100 frames']:.1f}, of 1,000 frames {memory['1000 frames']:.1f}")


def plot(curves: dict[str, np.ndarray], line: np.ndarray, path: Path) -> None:
    """Draws time against pixels."""
    matplotlib.use("Agg")
    figure = Figure(figsize=(5.5, 3.8), layout="constrained")
    axis = figure.subplots()
    pixels = 64 * np.array(cells()) / 1000
    for name, curve in curves.items():
        axis.plot(pixels, curve, "o" if name.startswith("windowed") else "s", label=name)
    axis.plot(pixels, line, color="C0", label="line")
    axis.set_xlabel("thousand pixels of a frame")
    axis.set_ylabel("seconds for a frame, one thread")
    axis.set_ylim(0)
    axis.legend()
    figure.savefig(path, dpi=130)


if __name__ == "__main__":
    main()
