"""The points of the scaling plots. Imports no torch: each point is measured in a process of its own."""

from dataclasses import dataclass

from suite.harness import Process


@dataclass(frozen=True)
class Plot:
    """A cost against a size.

    Args:
        title: Of the plot.
        axis: What grows.
        sizes: How large it is.
        lines: What is measured at every size: names in `suite/cases/growth.py`.
    """

    title: str
    axis: str
    sizes: tuple[int, ...]
    lines: tuple[str, ...]


PLOTS = {
    "image": Plot("RIN, a pass", "pixels of a side", (32, 64, 128, 192), ("RIN", "DiT")),
    "frames": Plot("RIN, a training step of video", "frames", (8, 16, 32, 64), ("RIN", "DiT")),
    "video": Plot("propagation, a frame", "frames before it", (25, 50, 100, 200), ("context 20",)),
    "trajectories": Plot("EM", "trajectories", (256, 512, 1024, 2048), ("ours", "scikit-learn on states")),
    "world": Plot("a step under DDP, one rank", "ranks", (1, 2, 4), ("RIN",)),
}


def measured(name: str, rounds: int) -> dict[str, list[tuple[int, float]]]:
    """Size and best seconds of a call for every point of a plot; each round starts new processes."""
    plot = PLOTS[name]
    found: dict[str, list[tuple[int, float]]] = {}
    for line in plot.lines:
        best = dict.fromkeys(plot.sizes, float("inf"))
        for _ in range(rounds):
            processes = {size: Process(f"growth:{name}:{line}", str(size)) for size in plot.sizes}
            for process in processes.values():
                process.ready()
            for size, process in processes.items():
                best[size] = min(best[size], *process.turn(2)["seconds"])
            for process in processes.values():
                process.close()
        found[line] = list(best.items())
    return found
