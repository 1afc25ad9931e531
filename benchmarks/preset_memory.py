"""The memory that a training step of each RIN preset needs: computed for all, and measured for the small ones.

    python benchmarks/preset_memory.py

Computed: weights, gradients, the two moments of LAMB and the average are five float32 numbers a parameter, one of each
but two of the moments. Activations are what the step keeps for its backward pass, the tensors of a real step run with
FakeTensors, which have sizes and no data; each storage counts once, parameters and what is freed in between not at all.
They grow with the batch, in float32 and with autocast to bfloat16 (of the CPU's list of operations).

Measured: the peak of the resident memory of a process over three steps on the CPU, less what it had before the network
was made, after steps of another network, so that libraries are loaded. Once with an allocator that gives freed blocks
of 64 KiB and more back to the system, which is what is computed, and once with glibc's own habits. On a GPU nothing was
measured.
"""

import lightning_binding  # noqa: F401  # isort: skip  (before anything imports torchvision)

import argparse
import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest import mock

import timm
import torch
from machine import machine, peak, resident
from timm.optim import Lamb
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.optim.swa_utils import AveragedModel
from tqdm import tqdm

from lightning_binding.rin.diffusion import Diffusion
from lightning_binding.rin.objectives import Epsilon
from lightning_binding.rin.presets import PRESETS
from lightning_binding.rin.schedules import Sigmoid

PER_PARAMETER = {"weights": 4, "gradients": 4, "optimizer": 8, "average": 4}
# Presets that are measured, each with a batch at which activations are several times what a process varies by.
MEASURED = {"rin_quickstart": 128, "rin_emoji32": 64, "rin_cifar10": 8, "rin_sprites": 16}
MIB = 2**20


def step(network: nn.Module, batch: int) -> Tensor:
    """The loss of a batch of noise, with self-conditioning, as `RINDiffusion` trains."""
    arguments: Any = network
    size, context_frames = arguments.image_size, arguments.context_frames
    frames = () if arguments.frames == 1 else (arguments.frames - context_frames,)
    x_0 = torch.zeros(batch, *frames, arguments.in_channels, size, size)
    context = torch.zeros(batch, context_frames, arguments.in_channels, size, size) if context_frames else None
    label = torch.zeros(batch, dtype=torch.long) if arguments.num_classes else None
    diffusion = Diffusion(Sigmoid(), Epsilon(), 1.0, False, 0.9, 0.0, None)
    return diffusion.losses(network, x_0, label, context).loss.mean()


def activations(network: nn.Module, batch: int, half: bool) -> int:
    """Bytes that a step keeps for its backward pass; the network is of FakeTensors."""
    own = {parameter.untyped_storage()._cdata for parameter in network.parameters()}
    kept: dict[int, Tensor] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in own:
            kept[storage._cdata] = tensor  # held, so that no other storage gets its address
        return tensor

    autocast = torch.autocast("cpu", torch.bfloat16) if half else contextlib.nullcontext()
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor), autocast:
        step(network, batch)
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


def computed(name: str) -> dict[str, Any]:
    """Parameters, bytes a parameter costs, and activations of one example (the difference of two batches)."""
    looks_at_values = "lightning_binding.rin.checks.check_input", "torch.nn.init.trunc_normal_"
    with FakeTensorMode(), mock.patch(looks_at_values[0]), mock.patch(looks_at_values[1]):
        network = timm.create_model(name)
        count = sum(parameter.numel() for parameter in network.parameters())
        each = {
            kind: activations(network, 3, half) - activations(network, 2, half)
            for kind, half in (("float32", False), ("bfloat16", True))
        }
    states = {part: count * size / MIB for part, size in PER_PARAMETER.items()}
    return {
        "parameters": count,
        "states_mib": states | {"together": sum(states.values())},
        "activations_of_an_example_mib": {kind: size / MIB for kind, size in each.items()},
    }


def train(name: str, batch: int, steps: int) -> None:
    """Steps with everything that a run of a recipe keeps."""
    network = timm.create_model(name)
    average = AveragedModel(network, multi_avg_fn=lambda old, new, _: torch._foreach_lerp_(old, new, 0.1))
    optimizer = Lamb(network.parameters(), lr=1e-3)
    for _ in range(steps):
        step(network, batch).backward()
        optimizer.step()
        average.update_parameters(network)


def measure(name: str, batch: int, **variables: str) -> float:
    """MiB at the peak of a process of its own, less what it had before."""
    command = [sys.executable, __file__, "--measure", name, str(batch)]
    environment = {**os.environ, **variables}
    return float(subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--measure", nargs=2, metavar=("PRESET", "BATCH"), help="measure in this process, and print")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("results") / "preset_memory.json")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.measure:
        train("rin_tiny", 2, 2)
        before = resident()
        train(options.measure[0], int(options.measure[1]), 3)
        print(peak() - before)
        return
    presets = {name: computed(name) for name in tqdm(PRESETS, desc="computing")}
    for name, batch in tqdm(MEASURED.items(), desc="measuring"):
        found, preset = measure(name, batch, MALLOC_MMAP_THRESHOLD_="65536"), presets[name]
        expected = preset["states_mib"]["together"] + batch * preset["activations_of_an_example_mib"]["float32"]
        preset["measured"] = {"batch": batch, "mib": found, "computed_mib": expected, "ratio": found / expected}
        preset["measured"]["default_allocator_mib"] = measure(name, batch)
    result = {"machine": machine(1), "presets": presets}
    options.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
