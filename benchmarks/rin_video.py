"""Training on video: clips a second, share of the machine's matrix rate, and memory against the number of frames.

    python benchmarks/rin_video.py --out benchmarks/results/rin_video.json

The network is that of `rin_sprites` (32 pixels, patches of 2 x 4 x 4), with 32 latents where the preset has 48, on
clips of more and more frames, two of them given; beside it a diffusion transformer of the same width, whose attention
joins every token with every other. Every measurement runs in a process of its own on one thread,
in time of the processor; the best of its steps counts. Memory is the peak beyond
what the process had after its imports.
"""

import lightning_binding  # noqa: F401  # isort: skip  (before anything imports torchvision)

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from machine import machine, peak, resident

from lightning_binding.rin import cost
from lightning_binding.rin.dit import DiT
from lightning_binding.rin.presets import PRESETS
from lightning_binding.rin.video import RINVideoDiffusion

BATCH, LATENTS, FRAMES = 4, 32, (8, 16, 32, 64, 128)


def rin(frames: int) -> RINVideoDiffusion:
    """`rin_sprites` with fewer latents, for longer clips."""
    return RINVideoDiffusion("rin_sprites", network_options={"frames": frames, "latents": LATENTS})


def dit(frames: int) -> RINVideoDiffusion:
    """A transformer over all tokens, as wide as the interface."""
    row = PRESETS["rin_sprites"]
    network = DiT(32, 4, row["interface_dim"], 4, 4, frames=frames, temporal_patch=2, context_frames=2)
    return RINVideoDiffusion(network, self_conditioning=0.0)


NETWORKS: dict[str, Callable[[int], RINVideoDiffusion]] = {"RIN": rin, "DiT": dit}


def work(name: str, frames: int, precision: str, repeats: int) -> dict[str, float]:
    """Best training step of a network, its memory, and the rate of arithmetic."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    if name == "matrix product":
        kind = getattr(torch, precision)
        a, b = (torch.randn(2048, 2048).to(kind) for _ in range(2))
        return {"rate": 2 * 2048**3 / best(lambda: a @ b, repeats)}
    module = NETWORKS[name](frames)
    optimizer = torch.optim.AdamW(module.parameters(), lr=1e-4)
    clips = torch.randint(256, (BATCH, frames, 3, 32, 32), dtype=torch.uint8)
    before, draws = resident(), torch.Generator().manual_seed(0)

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            loss = module.losses({"video": clips}, draws).mean()
        loss.backward()
        optimizer.step()

    seconds = best(step, repeats)
    found = {"clips_per_second": BATCH / seconds, "seconds": seconds, "mib": peak() - before}
    if name == "RIN":
        macs = cost.forward_macs(module.network)  # type: ignore[arg-type]
        found |= {"gmacs": macs / 1e9, "rate": 2 * 4 * macs * BATCH / seconds}
    return found


def best(step: Callable[[], Any], repeats: int) -> float:
    """Least time of the processor for a step, after one that warms up."""
    step()
    times = []
    for _ in range(repeats):
        start = time.process_time()
        step()
        times.append(time.process_time() - start)
    return min(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="JSON file to write")
    parser.add_argument("--repeats", type=int, default=3, help="steps of each; the best counts")
    parser.add_argument("--worker", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        name, frames, precision = options.worker
        print(json.dumps(work(name, int(frames), precision, options.repeats)))
        return

    def child(name: str, frames: int, precision: str) -> dict[str, float]:
        command = [
            sys.executable,
            __file__,
            "--repeats",
            str(options.repeats),
            "--worker",
            name,
            str(frames),
            precision,
        ]
        run = subprocess.run(command, capture_output=True, text=True, check=True)
        found: dict[str, float] = json.loads(run.stdout.splitlines()[-1])
        return found

    limit = {kind: child("matrix product", 0, kind)["rate"] for kind in ("float32", "bfloat16")}
    table = {
        f"{name}, {precision}": {frames: child(name, frames, precision) for frames in FRAMES}
        for name, precision in (("RIN", "float32"), ("RIN", "bfloat16"), ("DiT", "float32"))
    }
    memory = {name: [row[frames]["mib"] for frames in FRAMES] for name, row in table.items()}
    line = np.polyfit(FRAMES, memory["RIN, float32"], 1)
    off = np.max(np.abs(np.polyval(line, FRAMES) / memory["RIN, float32"] - 1))
    setup = {**machine(1), "batch": BATCH, "latents": LATENTS}
    report(setup, limit, table)
    print(f"\nMemory of the RIN: {line[0]:.1f} MiB a frame, no size off the line by more than {100 * off:.0f} %")
    if options.out:
        result = {
            "machine": setup,
            "matrix": limit,
            "table": table,
            "memory_line": list(line),
            "memory_off": float(off),
        }
        options.out.write_text(json.dumps(result, indent=1) + "\n")


def report(setup: dict[str, Any], limit: dict[str, float], table: dict[str, dict[int, dict[str, float]]]) -> None:
    """Prints the table, in Markdown."""
    print(f"{setup['processor']}, one thread, torch {setup['torch']}; matrix product ", end="")
    print(f"{limit['float32'] / 1e9:.0f} GFLOP/s in float32, {limit['bfloat16'] / 1e9:.0f} in bfloat16\n")
    print("| network | frames | clips a second | of the limit | peak MiB |\n| --- | --- | --- | --- | --- |")
    for name, rows in table.items():
        for frames, row in rows.items():
            share = f"{100 * row['rate'] / limit[name.split(', ')[1]]:.0f} %" if "rate" in row else ""
            print(f"| {name} | {frames} | {row['clips_per_second']:.2f} | {share} | {row['mib']:.0f} |")


if __name__ == "__main__":
    main()
