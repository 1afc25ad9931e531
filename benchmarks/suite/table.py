"""Numbers as Markdown."""

from statistics import median
from typing import Any

from suite.catalogue import CASES
from suite.numbers import noise, rate, ratios, share

HEAD = "| work | ours | beside | times as fast | peak MiB, ours and theirs | of the limit |\n|" + " --- |" * 6


def row(name: str, found: dict[str, Any]) -> str:
    """The line of a case: rate, ratio with its noise, memory, share of the limit."""
    case = CASES[name]
    ours = f"{short(rate(found['ours']))} {case.unit}/s"
    times, memory = f"{case.peer} is not installed", f"{found['ours']['mib']:.0f}"
    if "peer" in found:
        rounds = ratios(found)
        times = f"**{short(median(rounds))}** ± {noise(rounds):.0%}"
        memory += f", {found['peer']['mib']:.0f}"
    bound = f"{share(found, case.limit):.0%} of {case.limit}" if case.limit in found else ""
    return f"| {case.what} | {ours} | {case.peer} | {times} | {memory} | {bound} |"


def short(value: float) -> str:
    """Three digits that count."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
