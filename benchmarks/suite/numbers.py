"""What is made of the rounds: rates, ratios with their noise, shares of the limit, and whether two runs differ."""

from statistics import median
from typing import Any

SMALLEST = 0.03
"""Relative change that is worth a word, however quiet the machine."""
MEMORY = 0.10
"""Relative change of the peak of memory that is; the allocator and the libraries account for less."""


def rate(side: dict[str, Any]) -> float:
    """Units a second of the processor, in the middle round."""
    return float(side["units"] / median(side["seconds"]))


def ratios(found: dict[str, Any]) -> list[float]:
    """How many times as fast as the peer ours is, round by round."""
    ours, peer = found["ours"], found["peer"]
    pairs = zip(ours["seconds"], peer["seconds"], strict=True)
    return [(ours["units"] / mine) / (peer["units"] / other) for mine, other in pairs]


def share(found: dict[str, Any], limit: str) -> float:
    """Share of the limit that ours reaches, in the middle round."""
    ours, bound = found["ours"], found[limit]
    pairs = zip(ours["seconds"], bound["seconds"], strict=True)
    return median((ours["price"] / mine) / (bound["price"] / best) for mine, best in pairs)


def noise(values: list[float]) -> float:
    """Half of the way from the least to the largest round, relative to the middle one."""
    return (max(values) - min(values)) / 2 / median(values)


def change(before: list[float], after: list[float]) -> tuple[float, bool]:
    """Relative change of the middle ratio, and whether it is more than noise.

    It is where the rounds of both runs, each of processes of its own, do not overlap, which chance alone gives to 2 in
    252 pairs of runs of five rounds (2 in 56 of five and three), and where it is at least `SMALLEST`.
    """
    relative = median(after) / median(before) - 1
    apart = max(after) < min(before) or min(after) > max(before)
    return relative, apart and abs(relative) >= SMALLEST


def memory_change(before: float, after: float) -> tuple[float, bool]:
    """Relative change of the peak of memory in MiB, and whether it is one: from `MEMORY` and 8 MiB."""
    relative = after / before - 1 if before else 0.0
    return relative, relative >= MEMORY and after - before >= 8
