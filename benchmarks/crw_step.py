"""A training step of CRW with its options against the plain version of the same network, in one run on one machine.

    python benchmarks/crw_step.py --out benchmarks/results/crw_step.json

The recipe at two clips: T 4, 256 px, 49 patches of 64 px, a ResNet-18 of stride 8 with reflecting padding, Adam. Plain
is float32, contiguous and eager. Every candidate runs in a process of its own, so that peak memory (beyond what there
was after the imports) is its own; candidates take turns over several rounds, and the best step counts after those that
warm up. On one thread, time is that of the processor, which other work on a machine lengthens less. The encoder's share
is what a step saves when features that are there already take the encoder's place.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning_binding  # noqa: F401  # isort: skip  (before anything imports torchvision)
import torch
from machine import machine, peak, resident
from torch import Tensor

from lightning_binding.crw.module import ContrastiveRandomWalk

CLIPS, FRAMES, SIZE = 2, 4, 256
CANDIDATES: dict[str, dict[str, bool]] = {
    "plain": {},
    "channels last": {"channels_last": True},
    "bf16": {"mixed": True},
    "compiled": {"compiled": True},
    "channels last, bf16": {"channels_last": True, "mixed": True},
    "channels last, bf16, compiled": {"channels_last": True, "mixed": True, "compiled": True},
}


def recipe(channels_last: bool) -> ContrastiveRandomWalk:
    """The module as it is trained on Kinetics."""
    torch.manual_seed(0)
    return ContrastiveRandomWalk(padding="reflect", backbone_options={"channels_last": channels_last}).train()


def stepper(module: ContrastiveRandomWalk, video: Tensor, mixed: bool) -> Callable[[], float]:
    """A training step, which returns the loss."""
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-4)
    generator = torch.Generator().manual_seed(0)

    def step() -> float:
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
            loss = module.losses({"video": video}, generator)[0].loss
        loss.backward()
        optimizer.step()
        return float(loss.detach())

    return step


def seconds(step: Callable[[], float], repeats: int) -> float:
    """Best time of a step after one that warms up."""
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    step()
    times = []
    for _ in range(repeats):
        start = clock()
        step()
        times.append(clock() - start)
    return min(times)


def work(name: str, threads: int, repeats: int) -> dict[str, float]:
    """What one process measures."""
    torch.set_num_threads(threads)
    options = CANDIDATES[name]
    before = resident()
    module = recipe(options.get("channels_last", False))
    if options.get("compiled"):
        module.backbone.compile()
    video = torch.randint(256, (CLIPS, FRAMES, 3, SIZE, SIZE), dtype=torch.uint8)
    step = stepper(module, video, options.get("mixed", False))
    loss = step()  # the same draws for all
    taken = seconds(step, repeats)
    memory = peak() - before
    with torch.no_grad():
        features = module.backbone(torch.zeros(1, 3, 64, 64)).expand(CLIPS * FRAMES * 49, -1, -1, -1).clone()
    features.requires_grad_()
    module.backbone = torch.nn.Module()
    module.backbone.forward = lambda pictures: features  # type: ignore[method-assign]
    rest = seconds(stepper(module, video, options.get("mixed", False)), repeats)
    return {"seconds": taken, "encoder": 1 - rest / taken, "mib": memory, "loss": loss}


def main() -> None:
    """Measures, prints and writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="JSON file to write")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3, help="turns that every candidate gets")
    parser.add_argument("--repeats", type=int, default=3, help="steps in a turn; the best counts")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        print(json.dumps(work(options.worker, options.threads, options.repeats)))
        return
    rounds: dict[str, list[dict[str, float]]] = {name: [] for name in CANDIDATES}
    for _ in range(options.rounds):
        for name in CANDIDATES:
            command = [sys.executable, __file__, "--worker", name, "--threads", str(options.threads)]
            command += ["--repeats", str(options.repeats)]
            run = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            rounds[name].append(json.loads(run.stdout.splitlines()[-1]))
    best = {name: min(turns, key=lambda turn: turn["seconds"]) for name, turns in rounds.items()}
    setup = machine(options.threads)
    report(setup, best)
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps({"machine": setup, "best": best, "rounds": rounds}, indent=1) + "\n")


def report(setup: dict[str, Any], best: dict[str, dict[str, float]]) -> None:
    """Prints the table, in Markdown."""
    print(f"{setup['processor']}, {setup['threads']} thread(s), torch {setup['torch']}\n")
    print("| candidate | s per step | times as fast | in the encoder | peak MiB | first loss |")
    print("| --- | --- | --- | --- | --- | --- |")
    plain = best["plain"]["seconds"]
    for name, row in best.items():
        print(f"| {name} | {row['seconds']:.2f} | {plain / row['seconds']:.2f} ", end="")
        print(f"| {row['encoder']:.1%} | {row['mib']:.0f} | {row['loss']:.4f} |")


if __name__ == "__main__":
    main()
