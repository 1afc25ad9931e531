"""Training step and forward pass of `rin_cifar10` against its peers, in one run on one machine.

    python benchmarks/rin_step.py --out benchmarks/results/rin_step.json

Every candidate runs in a process of its own, so that peak memory is its own; candidates take turns over several rounds,
and the best round counts, since other work on a machine only ever slows it down. The limit is the machine's own matrix
product. The peers (RIN-pytorch, diffusers) come with `pip install -e '.[bench]'`.

The arithmetic of a training step is counted as four forward passes with self-conditioning (first pass, second pass, and
a backward of twice the forward), three without; a multiply-accumulate is two operations.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning_binding  # noqa: F401  # isort: skip  (before anything imports torchvision)
import timm
import torch
from machine import machine
from suite.setting import processor
from torch.utils.flop_counter import FlopCounterMode

from lightning_binding.rin import cost
from lightning_binding.rin.diffusion import Diffusion
from lightning_binding.rin.objectives import Epsilon
from lightning_binding.rin.schedules import Sigmoid

BATCH, SIZE, CLASSES = 8, 32, 10
Step = Callable[[], Any]


def pictures() -> tuple[torch.Tensor, torch.Tensor]:
    """A batch as a loader gives it: uint8 images and labels."""
    return torch.randint(256, (BATCH, 3, SIZE, SIZE), dtype=torch.uint8), torch.randint(CLASSES, (BATCH,))


def optimised(network: torch.nn.Module, loss: Callable[[], torch.Tensor]) -> Step:
    """A training step: loss, gradient, AdamW; it returns the loss."""
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4, fused=True)

    def step() -> float:
        optimizer.zero_grad()
        value = loss()
        value.backward()
        optimizer.step()
        return float(value.detach())

    return step


def ours(precision: torch.dtype = torch.float32, compiled: bool = False, dropout: float = 0.0) -> dict[str, Any]:
    """`rin_cifar10` as `RINDiffusion` trains it."""
    network = timm.create_model("rin_cifar10", dropout=dropout, drop_path=dropout)
    macs = cost.forward_macs(network)
    if compiled:
        network.compile()
    process = Diffusion(Sigmoid(), Epsilon())
    images, label = pictures()

    def loss() -> torch.Tensor:
        with torch.autocast("cpu", precision, enabled=precision != torch.float32):
            return process.losses(network, process.from_images(images), label).loss.mean()

    def forward() -> None:
        with torch.no_grad(), torch.autocast("cpu", precision, enabled=precision != torch.float32):
            network(torch.zeros(BATCH, 3, SIZE, SIZE), torch.full((BATCH,), 0.5), label)

    return {"train": optimised(network, loss), "forward": forward, "macs": macs, "passes": 4, "network": network}


def rin_pytorch() -> dict[str, Any]:
    """PyPI's RIN-pytorch at the same dimensions, without its additional attention between patches."""
    from rin_pytorch import RIN, GaussianDiffusion

    network = RIN(
        dim=256,
        dim_latent=512,
        image_size=SIZE,
        patch_size=2,
        depth=3,
        latent_self_attn_depth=2,
        num_latents=128,
        latent_token_time_cond=True,
        patches_self_attn=False,
        heads=16,
        dim_head=32,
        flash=True,
    )
    process = GaussianDiffusion(network, train_prob_self_cond=1.0, objective="eps", min_snr_loss_weight=False)
    images, _ = pictures()

    def forward() -> None:
        with torch.no_grad():
            network(torch.zeros(BATCH, 3, SIZE, SIZE), torch.full((BATCH,), 0.5))

    return {
        "train": optimised(network, lambda: process(images.float() / 255)),
        "forward": forward,
        "macs": counted(forward),
        "passes": 4,
        "network": network,
    }


def denoiser(network: torch.nn.Module, call: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> dict[str, Any]:
    """A network without latents, trained on the same process."""
    process = Diffusion(Sigmoid(), Epsilon(), self_conditioning=0.0)
    images, _ = pictures()

    def adapted(x: torch.Tensor, gamma: torch.Tensor, *unused: Any) -> tuple[torch.Tensor, torch.Tensor, None]:
        return call(x, gamma), x, None

    def forward() -> None:
        with torch.no_grad():
            call(torch.zeros(BATCH, 3, SIZE, SIZE), torch.full((BATCH,), 0.5))

    return {
        "train": optimised(network, lambda: process.losses(adapted, process.from_images(images)).loss.mean()),
        "forward": forward,
        "macs": counted(forward),
        "passes": 3,
        "network": network,
    }


def unet() -> dict[str, Any]:
    """The U-Net of diffusers, with attention at 16 pixels: the usual one for CIFAR-10, of about the same size."""
    from diffusers import UNet2DModel

    network = UNet2DModel(
        sample_size=SIZE,
        block_out_channels=(128, 256, 256, 256),
        down_block_types=("DownBlock2D", "AttnDownBlock2D", "DownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "UpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
        layers_per_block=2,
    )
    return denoiser(network, lambda x, gamma: network(x, gamma * 1000).sample)


def dit() -> dict[str, Any]:
    """The DiT of diffusers at patch 2, of about the same size."""
    from diffusers import DiTTransformer2DModel

    network = DiTTransformer2DModel(
        num_attention_heads=6,
        attention_head_dim=64,
        in_channels=3,
        out_channels=3,
        num_layers=12,
        sample_size=SIZE,
        patch_size=2,
        num_embeds_ada_norm=1000,
    )
    _, label = pictures()
    return denoiser(network, lambda x, gamma: network(x, (gamma * 999).long(), label).sample)


CANDIDATES: dict[str, Callable[[], dict[str, Any]]] = {
    "ours": ours,
    "ours, dropout 0.1": lambda: ours(dropout=0.1),
    "ours, bf16-mixed": lambda: ours(torch.bfloat16),
    "ours, compiled": lambda: ours(compiled=True),
    "ours, bf16-mixed, compiled": lambda: ours(torch.bfloat16, compiled=True),
    "RIN-pytorch 0.8.0": rin_pytorch,
    "U-Net (diffusers)": unet,
    "DiT (diffusers)": dit,
}


def counted(forward: Step) -> float:
    """Multiply-accumulates of one example, as torch counts them."""
    from torch.nn.attention import SDPBackend, sdpa_kernel

    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        forward()
    return counter.get_total_flops() / 2 / BATCH


def seconds(step: Step, repeats: int) -> float:
    """Best time of a step after one that warms up."""
    step()
    times: list[float] = []
    for _ in range(repeats):
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    return min(times)


def matrix_rate(repeats: int, precision: torch.dtype = torch.float32) -> float:
    """Operations a second of a 4096-cubed matrix product."""
    a, b = (torch.randn(4096, 4096).to(precision) for _ in range(2))
    return 2 * 4096**3 / seconds(lambda: a @ b, repeats)


def work(name: str, threads: int, repeats: int) -> dict[str, float]:
    """What one process measures: one candidate, and the matrix product right after it."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    if name == "matrix product":
        return {"float32": matrix_rate(repeats), "bfloat16": matrix_rate(repeats, torch.bfloat16)}
    candidate = CANDIDATES[name]()
    train = seconds(candidate["train"], repeats)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    forward = seconds(candidate["forward"], 2 * repeats)
    return {
        "loss": sum(candidate["train"]() for _ in range(repeats)) / repeats,
        "parameters": sum(parameter.numel() for parameter in candidate["network"].parameters()) / 1e6,
        "macs": candidate["macs"] / 1e9,
        "train_images": BATCH / train,
        "forward_images": BATCH / forward,
        "train_rate": 2 * candidate["passes"] * candidate["macs"] * BATCH / train,
        "forward_rate": 2 * candidate["macs"] * BATCH / forward,
        "peak_gib": peak,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="JSON file to write")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3, help="turns that every candidate gets")
    parser.add_argument("--repeats", type=int, default=4, help="steps in a turn; the best counts")
    parser.add_argument("--only", nargs="*", help="candidates to run; all by default")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        print(json.dumps(work(options.worker, options.threads, options.repeats)))
        return
    names = ["matrix product", *(options.only or CANDIDATES)]
    rounds: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    for _ in range(options.rounds):
        for name in names:
            command = [sys.executable, __file__, "--worker", name, "--threads", str(options.threads)]
            command += ["--repeats", str(options.repeats)]
            run = subprocess.run(command, capture_output=True, text=True, check=True)
            rounds[name].append(json.loads(run.stdout.splitlines()[-1]))
    best = {
        name: {key: (min if key in ("peak_gib", "loss") else max)(turn[key] for turn in turns) for key in turns[0]}
        for name, turns in rounds.items()
    }
    limit = best.pop("matrix product")
    report(best, limit, options.threads)
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        result = {"machine": machine(options.threads), "matrix": limit, "best": best, "rounds": rounds}
        options.out.write_text(json.dumps(result, indent=1) + "\n")


def report(best: dict[str, dict[str, float]], limit: dict[str, float], threads: int) -> None:
    """Prints the table, in Markdown."""
    print(f"{processor()}, {threads} threads, torch {torch.__version__}; 4096-cubed matrix product ", end="")
    print(f"{limit['float32'] / 1e9:.0f} GFLOP/s in float32, {limit['bfloat16'] / 1e9:.0f} in bfloat16\n")
    print(
        "| candidate | M params | GMAC | train images/s | of the matrix | forward images/s | of it | peak GiB | loss |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for name, row in best.items():
        rate = limit["bfloat16" if "bf16" in name else "float32"]
        print(
            f"| {name} | {row['parameters']:.1f} | {row['macs']:.2f} | {row['train_images']:.2f} "
            f"| {row['train_rate'] / rate:.0%} | {row['forward_images']:.1f} | {row['forward_rate'] / rate:.0%} "
            f"| {row['peak_gib']:.2f} | {row['loss']:.3f} |"
        )


if __name__ == "__main__":
    main()
