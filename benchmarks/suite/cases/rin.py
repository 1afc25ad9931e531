"""RIN at the size of `rin_cifar10`, beside PyPI's RIN-pytorch at the same dimensions."""

import rin_step
import torch

from lightning_binding.rin.diffusion import Diffusion
from lightning_binding.rin.objectives import Epsilon
from lightning_binding.rin.sampling import Sampling
from lightning_binding.rin.schedules import Sigmoid
from suite.side import Side

DRAWN, STEPS = 2, 10


def training(candidate: dict) -> Side:
    """A step: loss, gradient, optimizer. With self-conditioning it costs four passes."""
    cost = 2 * candidate["passes"] * candidate["macs"] * rin_step.BATCH
    return Side(lambda: candidate["train"]() and None, rin_step.BATCH, cost)


def peer_bf16() -> Side:
    """RIN-pytorch under the same autocast."""
    candidate = rin_step.rin_pytorch()

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16):
            candidate["train"]()

    return Side(step, rin_step.BATCH)


def sampling() -> Side:
    """Ten evaluations of the network for each picture, without guidance."""
    candidate = rin_step.ours()
    process, sampler = Diffusion(Sigmoid(), Epsilon()), Sampling("ddim", STEPS)
    noise, label = torch.randn(DRAWN, 3, 32, 32), torch.zeros(DRAWN, dtype=torch.long)
    network = candidate["network"].eval()

    @torch.no_grad()
    def call() -> None:
        sampler(network, process, noise, label)

    return Side(call, DRAWN, 2 * candidate["macs"] * DRAWN * STEPS)


def peer_sampling() -> Side:
    """RIN-pytorch's DDIM."""
    from rin_pytorch import GaussianDiffusion

    network = rin_step.rin_pytorch()["network"].eval()
    process = GaussianDiffusion(network, timesteps=STEPS, use_ddim=True, objective="eps")

    def call() -> None:
        process.sample(batch_size=DRAWN)

    return Side(call, DRAWN)


SIDES = {
    "rin_train": {"ours": lambda: training(rin_step.ours()), "peer": lambda: training(rin_step.rin_pytorch())},
    "rin_train_bf16": {"ours": lambda: training(rin_step.ours(torch.bfloat16)), "peer": peer_bf16},
    "rin_sample": {"ours": sampling, "peer": peer_sampling},
}
