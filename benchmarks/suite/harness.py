"""Measures a case: its sides in processes of their own, which take turns over several rounds.

A process for each side has its own peak of memory; turns put ours and the peer under the same load of the machine, so
that their ratio means something where their times do not. All rounds are kept: their spread is the noise.
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

    def round(self, calls: int) -> dict[str, Any]:
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


def measure(name: str, rounds: int = 5, turn: float = 0.5) -> dict[str, Any]:
    """All that is found out about a case.

    Args:
        name: Of the case.
        rounds: Turns of each side, after one that is thrown away.
        turn: Seconds that a turn takes, at least one call.

    Returns:
        Of each side its `units`, `price`, `mib` and the best seconds of a call in each round.
    """
    case = CASES[name]
    sides = ["ours", *(["peer"] if installed(case) else []), *([case.limit] if case.limit else [])]
    processes = {side: Process(name, side) for side in sides}
    found: dict[str, dict[str, Any]] = {side: {**each.ready(), "seconds": []} for side, each in processes.items()}
    calls = {side: max(1, int(turn / min(each.round(1)["seconds"]))) for side, each in processes.items()}
    for _ in range(rounds):
        for side, process in processes.items():
            answer = process.round(calls[side])
            found[side]["seconds"].append(min(answer["seconds"]))
            found[side]["mib"] = answer["mib"]
    for process in processes.values():
        process.close()
    return found


def installed(case: Case) -> bool:
    """Whether the package of the peer is there."""
    try:
        return case.needs is None or bool(version(case.needs))
    except PackageNotFoundError:
        return False
