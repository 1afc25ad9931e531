"""CRW: the training step, the walk alone, and label propagation."""

import crw_propagation
import crw_step
import crw_walk
import torch
from crw_propagation import CHANNELS, HEIGHT, LABELS, SETTINGS, WIDTH
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from lightning_binding.crw.propagation import propagate_frames
from lightning_binding.precision import processor_has_bfloat16
from suite.cases.limits import matrix
from suite.catalogue import OF_ITS_KIND
from suite.side import Side


def step(channels_last: bool, mixed: bool) -> Side:
    """A step of the recipe at one clip; its operations are those of the encoder and the walk, forward and back.

    Counted are matrix products and convolutions: of 4 frames of 49 patches through the ResNet-18, and of the walk.
    """
    module = crw_step.recipe(channels_last)
    video = torch.randint(256, (1, crw_step.FRAMES, 3, crw_step.SIZE, crw_step.SIZE), dtype=torch.uint8)
    call = crw_step.stepper(module, video, mixed)
    with FlopCounterMode(display=False) as counter:
        call()
    return Side(lambda: call() and None, 1, counter.get_total_flops(), warm=0)


def walk(ours: bool) -> Side:
    """Loss and gradient of 20 clips of ten frames of 49 nodes, 128 wide."""
    shape = crw_walk.CLIPS["B 20, N 49, T 10, width 128"]
    nodes = F.normalize(torch.randn(shape), dim=-1)
    if not ours:
        nodes = nodes.permute(0, 3, 1, 2).contiguous()
    nodes.requires_grad_()
    gradient = crw_walk.our_step if ours else crw_walk.original_step
    return Side(lambda: gradient(nodes) is None or None, shape[0])


def propagation() -> Side:
    """A frame with a full context: a query is compared with a disc of each of 20 frames and the whole first one."""
    frames = list(crw_propagation.video(SETTINGS.context + 2, HEIGHT, WIDTH))

    def endless():
        yield from frames
        while True:
            yield frames[-1]

    labels = propagate_frames(endless(), crw_propagation.first_labels(HEIGHT, WIDTH), SETTINGS)
    for _ in range(SETTINGS.context + 1):
        next(labels)
    y, x = torch.meshgrid(torch.arange(HEIGHT), torch.arange(WIDTH), indexing="ij")
    places = torch.stack([y.flatten(), x.flatten()], 1).float()
    near = int((torch.cdist(places, places) < SETTINGS.radius).sum())
    cost = 2 * CHANNELS * (SETTINGS.context * near + (HEIGHT * WIDTH) ** 2)
    return Side(lambda: next(labels) is None or None, 1, cost)


def original_propagation() -> Side:
    """The original's scores and choice of the best for one frame, keys streamed."""
    (frame,) = crw_propagation.video(1, HEIGHT, WIDTH)
    features = F.normalize(frame, dim=0).flatten(1)[:, None]
    keys = features[:, None].repeat(1, 1, SETTINGS.context + 1, 1)
    y, x = (grid.flatten() for grid in torch.meshgrid(torch.arange(HEIGHT), torch.arange(WIDTH), indexing="ij"))
    distance = ((y[:, None] - y) ** 2 + (x[:, None] - x) ** 2).float().sqrt()
    mask = torch.where(distance < SETTINGS.radius, 0.0, -1e10)
    labels = torch.rand((SETTINGS.context + 1) * HEIGHT * WIDTH, LABELS)

    def call() -> None:
        weights, places = crw_propagation.neighbours(features, keys, mask)
        for weight, place in zip(weights, places, strict=True):
            torch.einsum("kq,kql->ql", weight, labels[place])

    return Side(call, 1, warm=0)


SIDES = {
    "crw_step": {
        "ours": lambda: step(channels_last=True, mixed=processor_has_bfloat16()),
        "peer": lambda: step(False, False),
        OF_ITS_KIND: lambda: matrix(torch.bfloat16 if processor_has_bfloat16() else torch.float32),
    },
    "crw_walk": {"ours": lambda: walk(ours=True), "peer": lambda: walk(ours=False)},
    "propagation": {"ours": propagation, "peer": original_propagation},
}
