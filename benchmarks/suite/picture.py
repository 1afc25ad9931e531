"""The scaling plots side by side."""

from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from suite.growth import PLOTS


def draw(found: dict[str, dict[str, list[tuple[int, float]]]], path: Path) -> None:
    """Draws time against size, both on logarithmic axes, with a line of slope one through the first point."""
    matplotlib.use("Agg")
    figure = Figure(figsize=(3.1 * len(found), 3.0), layout="constrained")
    for axis, (name, lines) in zip(figure.subplots(1, len(found), squeeze=False)[0], found.items(), strict=True):
        plot = PLOTS[name]
        for line, points in lines.items():
            sizes, seconds = zip(*points, strict=True)
            axis.plot(sizes, [1000 * each for each in seconds], "o-", label=line)
        power = 2 if name == "image" else 0 if name in ("video", "world") else 1
        first, top = next(iter(lines.values()))[0], max(size for size, _ in next(iter(lines.values())))
        guide = [1000 * first[1], 1000 * first[1] * (top / first[0]) ** power]
        axis.plot(
            [first[0], top], guide, ":", color="grey", label={0: "constant", 1: "linear", 2: "linear in pixels"}[power]
        )
        axis.set(xscale="log", yscale="log", title=plot.title, xlabel=plot.axis, ylabel="ms")
        axis.set_xticks(plot.sizes, labels=[str(size) for size in plot.sizes], minor=False)
        axis.tick_params(axis="x", which="minor", labelbottom=False)
        low, high = axis.get_ylim()
        axis.set_ylim(min(low, 0.4 * guide[0]), max(high, 2.5 * guide[0]))
        axis.legend(fontsize=7)
    figure.savefig(path, dpi=120)
