"""Measures a case over several rounds: its sides in processes of their own, new ones in each round, which take turns.

A process for each side has its own peak of memory; turns put ours and the peer under the same load of the machine, so
that their ratio means something where their times do not. A process may be fast or slow for its whole life, by where
the system puts it and its memory: so each round starts others. All rounds are kept: their spread is the noise.
"""

import json
import os
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from suite.catalogue import CASES, Case

HERE = Path(__file__).parents[1]
LONG = 5.0
"""Seconds of a call from which one turn of a round is enough."""


class Process:
    """A side at work."""

    def __init__(self, case: str, side: str) -> None:
        threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
        paths = os.pathsep.join([str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])])
        self.name = f"{case}, {side}"
        self.process = subprocess.Popen(
            [sys.executable, "-m", "suite.worker", case, side],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **threads, "PYTHONPATH": paths},
        )

    def ready(self) -> dict[str, Any]:
        """Waits until the side is built and warm: what a call does."""
        return self._answer()

    def turn(self, calls: int) -> dict[str, Any]:
        """One turn: the seconds of each call, and the peak of memory so far."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{calls}\n")
        self.process.stdin.flush()
        return self._answer()

    def close(self) -> None:
        """Ends the process."""
        self.process.communicate()

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            _, complaint = self.process.communicate()
            raise RuntimeError(f"{self.name} ended early:\n{complaint.strip()[-2000:]}")
        answer: dict[str, Any] = json.loads(line)
        return answer


def measure(name: str, rounds: int = 5, turn: float = 0.5, turns: int = 3) -> dict[str, Any]:
    """All that is found out about a case.

    Args:
        name: Of the case.
        rounds: How often all sides are started.
        turn: Seconds that a turn takes, at least one call.
        turns: Turns of each side in a round, after one that is thrown away; one alone where a call takes long.

    Returns:
        Of each side its `units`, `price`, `mib`, the most of all rounds, and the best `seconds` of a call in each.
    """
    case = CASES[name]
    sides = ["ours", *(["peer"] if installed(case) else []), *([case.limit] if case.limit else [])]
    found: dict[str, dict[str, Any]] = {side: {"seconds": [], "mib": 0.0} for side in sides}
    for _ in range(rounds):
        processes = {side: Process(name, side) for side in sides}
        for side, process in processes.items():
            found[side].update(process.ready())
        first = {side: min(process.turn(1)["seconds"]) for side, process in processes.items()}
        best = dict.fromkeys(sides, float("inf"))
        for side, process in [*processes.items()] * (1 if max(first.values()) > LONG else turns):
            answer = process.turn(max(1, int(turn / first[side])))
            best[side] = min(best[side], *answer["seconds"])
            found[side]["mib"] = max(found[side]["mib"], answer["mib"])
        for side, process in processes.items():
            process.close()
            found[side]["seconds"].append(best[side])
    return found


def installed(case: Case) -> bool:
    """Whether the package of the peer is there."""
    try:
        return case.needs is None or bool(version(case.needs))
    except PackageNotFoundError:
        return False
