"""The walk of CRW and its patches against the ways of the original code, in one run on one thread.

    python benchmarks/crw_walk.py --out benchmarks/results/crw_walk.json

The loss with its gradient: the original multiplies the matrices of every cycle from the first, in both orders, of which
the loss takes one. With nodes of width 16 little but the walk itself is left; of width 128, as in the recipe, both
spend much on the same inner products. A third time is that of our inner products and their softmax in both directions
alone, with their gradient: what is left of the loss where the walk costs nothing. Patches: torchvision's crop, tensor
and normalisation of every patch as a PIL image, against one resampling of each frame. Candidates take turns, and the
best turn counts, in time of the processor.
"""

import argparse
import json
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import lightning_binding  # noqa: F401  # isort: skip  (before anything imports torchvision)
import numpy as np
import PIL
import torch
import torchvision
from machine import machine
from PIL import Image
from torch import Tensor
from torch.nn import functional as F
from torchvision import transforms

from lightning_binding.crw.patches import PatchGrid
from lightning_binding.crw.walk import palindrome_loss, transitions

TEMPERATURE = 0.05
CLIPS = {  # B, T, N, D
    "B 20, N 49, T 4, width 128": (20, 4, 49, 128),
    "B 20, N 49, T 10, width 128": (20, 10, 49, 128),
    "B 20, N 49, T 4, width 16": (20, 4, 49, 16),
    "B 20, N 49, T 10, width 16": (20, 10, 49, 16),
}
MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)


def original_loss(nodes: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Loss and accuracies of the original code, nodes (B, D, T, N)."""
    affinity = torch.einsum("bctn,bctm->btnm", nodes[:, :, :-1], nodes[:, :, 1:])
    steps = range(affinity.shape[1])
    out = [(affinity[:, step] / TEMPERATURE).softmax(-1) for step in steps]
    back = [(affinity[:, step].transpose(-1, -2) / TEMPERATURE).softmax(-1) for step in steps]
    walks = []
    for last in steps[1:]:
        chain = out[: last + 1] + back[: last + 1][::-1]
        right = left = chain[0]
        for matrix in chain[1:]:
            right, left = right @ matrix, matrix @ left
        walks.append((right, left))
    target = torch.arange(affinity.shape[-1]).repeat(len(affinity))
    losses, accuracies = [], []
    for right, _ in walks:
        logits = torch.log(right + 1e-20).flatten(0, -2)
        losses.append(F.cross_entropy(logits, target, reduction="none").mean())
        accuracies.append((logits.argmax(-1) == target).float().mean())
    return torch.stack(losses).mean(), accuracies


def original_step(nodes: Tensor) -> Tensor:
    """Gradient of the original's loss."""
    return torch.autograd.grad(original_loss(nodes)[0], nodes)[0]


def our_step(nodes: Tensor) -> Tensor:
    """Gradient of our loss, nodes (B, T, N, D)."""
    return torch.autograd.grad(palindrome_loss(nodes, TEMPERATURE).loss, nodes)[0]


def transitions_step(nodes: Tensor, weight: Tensor) -> Tensor:
    """Gradient of what the loss is made of before anybody walks, nodes (B, T, N, D)."""
    return torch.autograd.grad(transitions(nodes, TEMPERATURE), nodes, (weight, weight.mT))[0]


def original_patches(frames: list[np.ndarray], transform: Callable[[Image.Image], Tensor]) -> Tensor:
    """Patches (T, N, 3, 64, 64) of frames (H, W, 3)."""
    windows = [np.lib.stride_tricks.sliding_window_view(frame, (64, 64, 3))[::32, ::32] for frame in frames]
    cut = [[transform(Image.fromarray(patch)) for patch in window.reshape(-1, 64, 64, 3)] for window in windows]
    return torch.stack([torch.stack(patches) for patches in cut])


def our_patches(video: Tensor, grid: PatchGrid, mean: Tensor, std: Tensor) -> Tensor:
    """Patches (1, T, N, 3, 64, 64) of a clip uint8 (1, T, 3, H, W)."""
    return grid.cut((video.float() / 255 - mean) / std)


def best_of(calls: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Best time of the processor of each call, in ms; the first round warms up."""
    best = dict.fromkeys(calls, float("inf"))
    for turn in range(rounds + 1):
        for name, call in calls.items():
            start = time.process_time()
            call()
            if turn:
                best[name] = min(best[name], 1000 * (time.process_time() - start))
    return best


def walks(rounds: int) -> dict[str, dict[str, float]]:
    """Times of the loss with its gradient, and the largest difference of the gradients."""
    rows = {}
    for name, shape in CLIPS.items():
        nodes = F.normalize(torch.randn(shape), dim=-1)
        first = nodes.permute(0, 3, 1, 2).contiguous().requires_grad_()
        nodes.requires_grad_()
        expected = original_step(first).permute(0, 2, 3, 1)
        difference = float((our_step(nodes) - expected).abs().max() / expected.abs().max())
        assert difference < 1e-4
        calls = {"original": partial(original_step, first), "ours": partial(our_step, nodes)}
        weight = torch.rand(shape[0], shape[1] - 1, shape[2], shape[2])
        times = best_of(calls | {"transitions": partial(transitions_step, nodes, weight)}, rounds)
        rows[name] = times | {"difference": difference}
    return rows


def patches(rounds: int) -> dict[str, float]:
    """Times to make the patches of a clip of four frames."""
    video = torch.randint(256, (1, 4, 3, 256, 256), dtype=torch.uint8)
    frames = [frame.permute(1, 2, 0).numpy() for frame in video[0]]
    crop = transforms.RandomResizedCrop(64, scale=(0.7, 0.9))
    transform = transforms.Compose([crop, transforms.ToTensor(), transforms.Normalize(MEAN, STD)])
    mean, std = (torch.tensor(each)[:, None, None] for each in (MEAN, STD))
    calls = {
        "original": partial(original_patches, frames, transform),
        "ours": partial(our_patches, video, PatchGrid(64, 32, 256), mean, std),
    }
    assert calls["original"]().shape == calls["ours"]()[0].shape
    return best_of(calls, rounds)


def main() -> None:
    """Measures, prints and writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="JSON file to write")
    parser.add_argument("--rounds", type=int, default=200, help="turns of the loss; patches get a tenth")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    rows = walks(options.rounds) | {"patches of a clip, T 4, 49 of 64 px": patches(max(options.rounds // 10, 1))}
    setup = machine(1) | {"torchvision": torchvision.__version__, "pillow": PIL.__version__}
    print(f"{setup['processor']}, 1 thread, torch {setup['torch']}, pillow {setup['pillow']}\n")
    print("| what | original, ms | ours, ms | ratio | of ours, transitions | ratio without a walk |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name, row in rows.items():
        row["ratio"] = row["original"] / row["ours"]
        print(f"| {name} | {row['original']:.2f} | {row['ours']:.2f} | {row['ratio']:.1f} ", end="")
        bound = (
            f"{row['transitions']:.2f} | {row['original'] / row['transitions']:.1f}" if "transitions" in row else "|"
        )
        print(f"| {bound} |")
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps({"machine": setup, "rounds": options.rounds, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
