"""What is computed on a GPU is what is computed on a CPU, in float32 without TF32."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import timm
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lightning_binding.carml.em import fit_mixture
from lightning_binding.carml.ppo import trial_advantages
from lightning_binding.carml.reward import task_reward
from lightning_binding.crw.module import ContrastiveRandomWalk
from lightning_binding.crw.propagation import propagate_frames
from lightning_binding.crw.settings import PropagationSettings
from lightning_binding.crw.walk import palindrome_loss
from lightning_binding.metrics import FrechetDistance, JaccardBoundary
from lightning_binding.rin.diffusion import Diffusion
from lightning_binding.rin.objectives import Epsilon
from lightning_binding.rin.samplers import SAMPLERS
from lightning_binding.rin.schedules import ShiftedCosine, Sigmoid

pytestmark = pytest.mark.gpu


def source(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def gradients(network: nn.Module, loss: Tensor) -> list[Tensor]:
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    return [loss, *(each for each in torch.autograd.grad(loss, trained, allow_unused=True) if each is not None)]


def rin(preset: str) -> Callable[[torch.device], list[Tensor]]:
    def compute(device: torch.device) -> list[Tensor]:
        torch.manual_seed(0)
        network: Any = timm.create_model(preset, dropout=0.0, drop_path=0.0)
        nn.init.normal_(network.previous_norm.weight, generator=source())  # zero at first: latents would not matter
        network = network.to(device)
        size, draws = network.image_size, source(1)
        frames = () if network.frames == 1 else (network.frames - network.context_frames,)
        x = torch.randn(2, *frames, 3, size, size, generator=draws)
        latents = torch.randn(2, network.num_latents, network.latent_dim, generator=draws)
        context = torch.randn(2, network.context_frames, 3, size, size, generator=draws)
        label = torch.tensor([0, -1], device=device) if network.num_classes else None
        gamma = torch.tensor([0.2, 0.9], device=device)
        given = context.to(device) if network.context_frames else None
        prediction, after, _ = network(x.to(device), gamma, label, latents.to(device), given)
        return [prediction, after, *gradients(network, prediction.square().mean() + after.mean())]

    return compute


def sampler(name: str) -> Callable[[torch.device], list[Tensor]]:
    def compute(device: torch.device) -> list[Tensor]:
        network: Any = timm.create_model("rin_emoji32", pretrained=True).to(device)
        label = torch.arange(4, device=device)

        def denoise(x: Tensor, gamma: Tensor, latents: Tensor | None) -> tuple[Tensor, Tensor | None]:
            prediction, latents, _ = network(x, gamma, label, latents)
            return prediction, latents

        noise = torch.randn(4, 3, 32, 32, generator=source()).to(device)
        with torch.no_grad():
            return [SAMPLERS[name](denoise, noise, steps=6, schedule=ShiftedCosine(), generator=source(2))]

    return compute


def walk(device: torch.device) -> list[Tensor]:
    nodes = F.normalize(torch.randn(3, 5, 49, 32, generator=source()), dim=-1).to(device).requires_grad_()
    found = palindrome_loss(nodes, 0.07)
    return [found.loss, found.cycle_losses, torch.autograd.grad(found.loss, nodes)[0]]


def crw(device: torch.device) -> list[Tensor]:
    torch.manual_seed(0)
    module = ContrastiveRandomWalk(padding="reflect", channels_last=True).eval()
    module.nodes = module.nodes.without_chance(128)
    module = module.to(device)
    video = torch.randint(256, (2, 4, 3, 128, 128), dtype=torch.uint8, generator=source()).to(device)
    nodes = module.make_nodes(video)["nodes"]
    assert nodes is not None
    loss = palindrome_loss(nodes, 0.05).loss
    return [nodes, *gradients(nn.ModuleList([module.backbone, module.head]), loss)]


def propagation(device: torch.device) -> list[Tensor]:
    frames = [torch.randn(32, 20, 30, generator=source(index)).to(device) for index in range(6)]
    first = F.one_hot(torch.randint(4, (20, 30), generator=source(9)), 4).float().to(device)
    settings = PropagationSettings(context=3, top_k=5, temperature=0.05, radius=6)
    return list(propagate_frames(iter(frames), first, settings))


def frechet(device: torch.device) -> list[Tensor]:
    metric = FrechetDistance(nn.Identity()).to(device)
    for seed, real in ((0, True), (1, False)):
        for part in (torch.randn(500, 64, generator=source(seed)) * (1 + seed)).to(device).split(100):
            metric.update_features(part, real=real)
    return [metric.compute()]


def jaccard(device: torch.device) -> list[Tensor]:
    metric = JaccardBoundary().to(device)
    masks = torch.randint(3, (2, 5, 12, 16), generator=source()).to(torch.uint8).to(device)
    large = masks.repeat_interleave(8, -1).repeat_interleave(8, -2)
    metric.update(large[0], large[1], "sequence")
    return list(metric.compute().values())


def expectation(device: torch.device) -> list[Tensor]:
    centres = torch.randn(4, 1, 3, generator=source()) * 4
    trajectories = (centres.repeat(16, 1, 1) + torch.randn(64, 10, 3, generator=source(1))).to(device)
    fit = fit_mixture(trajectories, 4, generator=source(2))
    likelihood = fit.mixture.log_likelihood(trajectories[:, 0])
    reward = task_reward(likelihood, fit.mixture.log_prior, torch.zeros(64, device=device).long(), 0.9)
    return [torch.tensor(fit.objective[-1]), reward]


def advantages(device: torch.device) -> list[Tensor]:
    rewards, values = torch.randn(2, 40, 16, generator=source()).to(device)
    return [trial_advantages(rewards, values, 0.99, 0.95)]


def process(device: torch.device) -> list[Tensor]:
    diffusion = Diffusion(Sigmoid(), Epsilon())
    images = torch.randint(256, (64, 3, 32, 32), dtype=torch.uint8, generator=source()).to(device)
    x_0 = diffusion.from_images(images)
    return [x_0, diffusion.to_images(x_0).float(), diffusion.schedule(torch.linspace(0.01, 0.99, 9, device=device))]


COMPUTATIONS: dict[str, Callable[[torch.device], list[Tensor]]] = {
    **{preset: rin(preset) for preset in ("rin_tiny", "rin_cifar10", "rin_sprites", "rin_imagenet64_released")},
    **{name: sampler(name) for name in SAMPLERS},
    "walk": walk,
    "crw": crw,
    "propagation": propagation,
    "frechet": frechet,
    "jaccard": jaccard,
    "expectation": expectation,
    "advantages": advantages,
    "process": process,
}


@pytest.mark.parametrize("name", COMPUTATIONS)
def test_a_gpu_finds_what_a_cpu_finds(name: str, cuda: torch.device) -> None:
    expected, found = (COMPUTATIONS[name](device) for device in (torch.device("cpu"), cuda))
    assert len(expected) == len(found)
    for one, two in zip(expected, found, strict=True):
        scale = one.detach().abs().max().clamp_min(1e-6)
        difference = (two.detach().cpu().double() - one.detach().double()).abs().max() / scale
        assert np.isfinite(float(difference))
        assert difference < 2e-3, f"{tuple(one.shape)} differs by {float(difference):.1e} of its largest value"
