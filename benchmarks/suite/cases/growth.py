"""What the scaling plots measure at one size."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable

import carml_estep
import crw_propagation
import rin_scaling
import rin_video
import torch

from lightning_binding.crw.propagation import propagate_frames
from lightning_binding.rin.dit import DiT
from suite.side import Side

WIDTH, CELLS = 32, (24, 40)


def image(line: str, size: int) -> Side:
    """A pass of one picture through a network whose latents do not grow, or a transformer as deep and wide."""
    if line == "RIN":
        network: torch.nn.Module = rin_scaling.network(size)
    else:
        network = DiT(size, rin_scaling.PATCH, rin_scaling.WIDTH, sum(rin_scaling.BLOCKS), 8).eval()
    x, gamma = torch.randn(1, 3, size, size), torch.full((1,), 0.5)

    @torch.no_grad()
    def call() -> None:
        network(x, gamma)

    return Side(call, 1)


def frames(line: str, size: int) -> Side:
    """A training step of one clip."""
    module = rin_video.NETWORKS[line](size)
    clip, draws = torch.randint(256, (1, size, 3, 32, 32), dtype=torch.uint8), torch.Generator().manual_seed(0)

    def call() -> None:
        module.losses({"video": clip}, draws).mean().backward()

    return Side(call, 1)


def video(line: str, size: int) -> Side:
    """The frame after so many others."""
    features = list(crw_propagation.video(8, *CELLS, 64))
    endless = (features[index % 8] for index in iter(int, 1) for index in range(8))
    labels = propagate_frames(endless, crw_propagation.first_labels(*CELLS), crw_propagation.SETTINGS)
    for _ in range(size):
        next(labels)
    return Side(lambda: next(labels) is None or None, 1, warm=0)


def trajectories(line: str, size: int) -> Side:
    """Twenty iterations of EM."""
    data = carml_estep.walks(size, WIDTH)
    fit = carml_estep.ours if line == "ours" else carml_estep.theirs
    return Side(lambda: fit(data) is None or None, size)


def world(line: str, size: int) -> Side:
    """Ten steps of ranks, of which the first tells its time."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    ranks = [
        subprocess.Popen(
            [sys.executable, "-m", "suite.cases.growth", str(rank), str(size), str(port)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ,
        )
        for rank in range(size)
    ]

    def call() -> float:
        for rank in ranks:
            assert rank.stdin
            rank.stdin.write("step\n")
            rank.stdin.flush()
        times = [float(rank.stdout.readline()) for rank in ranks if rank.stdout]
        return times[0]

    return Side(call, 1)


def rank(index: int, size: int, port: str) -> None:
    """A rank: steps as it is asked for them, until nothing is asked any more."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", f"tcp://127.0.0.1:{port}", rank=index, world_size=size)
    module = rin_video.rin(16)
    network = torch.nn.parallel.DistributedDataParallel(_Loss(module))
    optimizer = torch.optim.AdamW(network.parameters())
    clips = torch.randint(256, (2, 16, 3, 32, 32), dtype=torch.uint8)
    for _ in sys.stdin:
        start = time.process_time()
        network(clips).backward()
        optimizer.step()
        optimizer.zero_grad()
        print(time.process_time() - start, flush=True)


class _Loss(torch.nn.Module):
    """The loss as a module, which is what DDP wraps."""

    def __init__(self, module: torch.nn.Module) -> None:
        super().__init__()
        self.module, self.draws = module, torch.Generator().manual_seed(0)

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        loss: torch.Tensor = self.module.losses({"video": clips}, self.draws).mean()
        return loss


KINDS: dict[str, Callable[[str, int], Side]] = {
    "image": image,
    "frames": frames,
    "video": video,
    "trajectories": trajectories,
    "world": world,
}


if __name__ == "__main__":
    rank(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
