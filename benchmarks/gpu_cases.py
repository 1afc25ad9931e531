"""The cases of `gpu.py`: what each does once, how many units that is, and how many operations."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import crw_propagation
import rin_step
import timm
import torch
from timm.optim import Lamb
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode
from torchmetrics.image.fid import FrechetInceptionDistance

from lightning_binding.carml.collector import Collector
from lightning_binding.carml.memory import LSTM
from lightning_binding.carml.meta_rl import MetaRL
from lightning_binding.carml.worlds import BernoulliBandit
from lightning_binding.crw.module import ContrastiveRandomWalk
from lightning_binding.crw.propagation import propagate_frames
from lightning_binding.metrics import FrechetDistance
from lightning_binding.rin import cost
from lightning_binding.rin.diffusion import Diffusion
from lightning_binding.rin.objectives import Epsilon
from lightning_binding.rin.sampling import Sampling
from lightning_binding.rin.schedules import Sigmoid


@dataclass
class Case:
    """A piece of work.

    Args:
        call: Does it once, on the GPU.
        units: How many of `unit` that is.
        unit: What is counted, such as images.
        operations: Floating-point operations of the model in a call; 0 where they are not told.
        more: Further numbers, taken after the timing.
    """

    call: Callable[[], Any]
    units: float
    unit: str
    operations: float = 0.0
    more: Callable[[], dict[str, Any]] | None = None


def mixed(half: bool) -> torch.autocast:
    """The precision of a step."""
    return torch.autocast("cuda", torch.bfloat16, enabled=half)


def batch_of(network: Any, batch: int) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Images or videos in [-1, 1], labels, and context frames."""
    size, given = network.image_size, network.context_frames
    frames = () if network.frames == 1 else (network.frames - given,)
    x_0 = torch.rand(batch, *frames, 3, size, size, device="cuda") * 2 - 1
    label = torch.randint(network.num_classes, (batch,), device="cuda") if network.num_classes else None
    return x_0, label, torch.rand(batch, given, 3, size, size, device="cuda") if given else None


def optimizer_alone(optimizer: torch.optim.Optimizer) -> dict[str, float]:
    """The share of a step that the update takes, in milliseconds."""
    from gpu import milliseconds

    return {"optimizer_milliseconds": milliseconds(optimizer.step, 0.2)}


def training(preset: str, batch: int, half: bool, compiled: bool = False, **options: Any) -> Case:
    """A step of a preset as `RINDiffusion` trains it, by LAMB, all examples self-conditioned."""
    with torch.device("cuda"):
        network: Any = timm.create_model(preset, **options)
    operations = 2 * cost.forward_macs(network) * 4 * batch
    optimizer = Lamb(network.parameters(), lr=1e-3, max_grad_norm=None)
    process = Diffusion(Sigmoid(), Epsilon())
    x_0, label, context = batch_of(network, batch)
    if compiled:
        network.compile()

    def step() -> Tensor:
        optimizer.zero_grad()
        with mixed(half):
            loss = process.losses(network, x_0, label, context).loss.mean()
        loss.backward()
        optimizer.step()
        return loss.detach()

    unit = "images" if network.frames == 1 else "clips"
    return Case(step, batch, unit, operations, lambda: optimizer_alone(optimizer))


def peer(make: Callable[[], dict[str, Any]], batch: int) -> Case:
    """A peer of `rin_step.py` in bfloat16, with its AdamW."""
    rin_step.BATCH = batch
    torch.set_default_device("cuda")
    try:
        candidate = make()
        candidate["network"].cuda()
    finally:
        torch.set_default_device("cpu")

    def step() -> None:
        torch.set_default_device("cuda")
        with mixed(True):
            candidate["train"]()
        torch.set_default_device("cpu")

    return Case(step, batch, "images", 2 * candidate["macs"] * candidate["passes"] * batch)


def sampling(preset: str, batch: int, steps: int) -> Case:
    """Some steps of DDIM in bfloat16, without guidance."""
    with torch.device("cuda"):
        network: Any = timm.create_model(preset).eval()
    operations = 2 * cost.forward_macs(network) * batch * steps
    x_0, label, context = batch_of(network, batch)
    process, settings = Diffusion(Sigmoid(), Epsilon()), Sampling(steps=steps)

    def call() -> Tensor:
        with mixed(True):
            return settings(network, process, torch.randn_like(x_0), label, context)

    return Case(call, batch, "images" if network.frames == 1 else "clips", operations)


def walk(clips: int, fast: bool, compiled: bool = False) -> Case:
    """A step of CRW's recipe: clips of 4 frames of 256 px, 49 patches, ResNet-18; plain is float32 and contiguous."""
    module: Any = ContrastiveRandomWalk(padding="reflect", channels_last=fast).cuda().train()
    video = torch.randint(256, (clips, 4, 3, 256, 256), dtype=torch.uint8, device="cuda")
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-4, fused=True)
    generator = torch.Generator("cuda").manual_seed(0)
    with FlopCounterMode(display=False) as counter:
        module.losses({"video": video[:1]}, generator)[0].loss.backward()
    if compiled:
        module.backbone.compile()

    def step() -> None:
        optimizer.zero_grad()
        with mixed(fast):
            loss = module.losses({"video": video}, generator)[0].loss
        loss.backward()
        optimizer.step()

    return Case(step, clips, "clips", counter.get_total_flops() * clips)


def propagation(ours: bool) -> Case:
    """A frame of 480 x 854 pixels with a full context of 20, ours or the original's procedure."""
    settings = crw_propagation.SETTINGS
    height, width = crw_propagation.HEIGHT, crw_propagation.WIDTH
    frames = [frame.cuda() for frame in crw_propagation.video(settings.context + 2, height, width)]
    if ours:

        def endless() -> Any:
            yield from frames
            while True:
                yield frames[-1]

        labels = propagate_frames(endless(), crw_propagation.first_labels(height, width).cuda(), settings)
        for _ in range(settings.context + 1):
            next(labels)
        return Case(lambda: next(labels), 1, "frames")
    features = F.normalize(frames[0], dim=0).flatten(1)[:, None]
    keys = features[:, None].repeat(1, 1, settings.context + 1, 1)
    y, x = (each.flatten() for each in torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij"))
    distance = ((y[:, None] - y) ** 2 + (x[:, None] - x) ** 2).float().sqrt()
    mask = torch.where(distance < settings.radius, 0.0, -1e10).cuda()
    held = torch.rand((settings.context + 1) * height * width, crw_propagation.LABELS, device="cuda")

    def original() -> None:
        weights, places = crw_propagation.neighbours(features, keys, mask)
        for weight, place in zip(weights, places, strict=True):
            torch.einsum("kq,kql->ql", weight, held[place])

    return Case(original, 1, "frames")


def frechet(ours: bool) -> Case:
    """Features of 2,048, 500 at a time."""
    identity = nn.Identity()
    identity.num_features = 2048  # type: ignore[assignment]
    metric: Any = FrechetDistance(identity) if ours else FrechetInceptionDistance(feature=identity)
    metric = metric.cuda() if ours else metric.set_dtype(torch.float64).cuda()
    features = torch.randn(500, 2048, device="cuda")
    return Case(lambda: metric.update(features, real=True), 500, "images")


def acting(environments: int, device: str) -> Case:
    """Whole trials of 100 pulls of a bandit, without learning: an LSTM of 128."""
    agent = MetaRL(BernoulliBandit(5, 100), memory=LSTM(128), separate_critic=True).to(device)
    collector = Collector(agent.world.make(environments, 0), agent.world, 100)
    return Case(lambda: collector.collect(agent.agent), 100 * environments, "steps")


SIZES = {
    "rin_cifar10": 256, "rin_emoji32": 256, "rin_imagenet64": 256, "rin_imagenet128": 128, "rin_imagenet256": 64,
    "rin_512": 64, "rin_1024": 16, "rin_kinetics600": 64,
}  # fmt: skip
CASES: dict[str, Callable[[], Case]] = {
    **{f"train {name} bf16": partial(training, name, batch, True) for name, batch in SIZES.items()},
    "train rin_cifar10 float32": partial(training, "rin_cifar10", 256, False),
    "train rin_imagenet128 float32": partial(training, "rin_imagenet128", 128, False),
    "train rin_cifar10 without dropout bf16": partial(training, "rin_cifar10", 256, True, dropout=0.0, drop_path=0.0),
    "train RIN-pytorch bf16": partial(peer, rin_step.rin_pytorch, 256),
    "train U-Net of diffusers bf16": partial(peer, rin_step.unet, 256),
    "train DiT of diffusers bf16": partial(peer, rin_step.dit, 256),
    "sample rin_imagenet256 bf16, 10 steps": partial(sampling, "rin_imagenet256", 64, 10),
    "sample rin_kinetics600 bf16, 10 steps": partial(sampling, "rin_kinetics600", 16, 10),
    "walk float32 contiguous": partial(walk, 20, False),
    "walk bf16 channels last": partial(walk, 20, True),
    "propagation": partial(propagation, True),
    "propagation, the original's": partial(propagation, False),
    "frechet": partial(frechet, True),
    "frechet, torchmetrics": partial(frechet, False),
    "act 64 on the CPU": partial(acting, 64, "cpu"),
    "act 64": partial(acting, 64, "cuda"),
    "act 4096 on the CPU": partial(acting, 4096, "cpu"),
    "act 4096": partial(acting, 4096, "cuda"),
    "train rin_cifar10 bf16 compiled": partial(training, "rin_cifar10", 256, True, True),
    "train rin_imagenet128 bf16 compiled": partial(training, "rin_imagenet128", 128, True, True),
    "walk bf16 channels last compiled": partial(walk, 20, True, True),
}
