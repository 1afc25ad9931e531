"""Candidates that take turns: each in a process of its own, over several rounds, of which the best one counts.

A script calls `turns` where it measures, and `answer` where it is called as the worker of one candidate. Of a training
in Lightning's Trainer, `Times` takes the time after the rollouts that warm up.
"""

import argparse
import json
import logging
import subprocess
import sys
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

Result = dict[str, Any]  # of a turn: `steps`, a second, and more
PARTS = ("environment", "policy", "learning")


class Times(Callback):
    """Begins to take the time after the rollouts that warm up, and sums up where it went.

    Args:
        warm: Rollouts that warm up.
        begin: Called when they are over.
    """

    def __init__(self, warm: int, begin: Callable[[], None]) -> None:
        self.warm, self.begin, self.seconds = warm, begin, dict.fromkeys(PARTS, 0.0)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begins after the last one that warms up."""
        if trainer.current_epoch + 1 == self.warm:
            self.begin()

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The times of the rollout before are logged by now."""
        if trainer.current_epoch > self.warm:
            self._add(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """So are those of the last one."""
        self._add(trainer)

    def _add(self, trainer: Trainer) -> None:
        for name in self.seconds:
            self.seconds[name] += float(trainer.callback_metrics[f"time/{name}"])

    @property
    def split(self) -> dict[str, float]:
        """The share of each part."""
        total = sum(self.seconds.values())
        return {name: value / total for name, value in self.seconds.items()}


def parser(about: str | None, rounds: int, rollouts: int) -> argparse.ArgumentParser:
    """The options that such a script has; `--worker` is its own."""
    found = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    found.add_argument("--out", type=Path, help="JSON file to write")
    found.add_argument("--rounds", type=int, default=rounds, help="turns that every candidate gets")
    found.add_argument("--rollouts", type=int, default=rollouts, help="rollouts that are timed in a turn")
    found.add_argument("--worker", help=argparse.SUPPRESS)
    return found


def turns(script: str, candidates: Mapping[str, list[str]], rounds: int) -> dict[str, list[Result]]:
    """What every candidate reached in every round.

    Args:
        script: The file that is called as the worker.
        candidates: Arguments of the worker, by name.
        rounds: Turns of each.
    """
    found: dict[str, list[Result]] = {name: [] for name in candidates}
    for _ in range(rounds):
        for name, arguments in candidates.items():
            command = [sys.executable, script, "--worker", *arguments]
            run = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            found[name].append(json.loads(run.stdout.splitlines()[-1]))
    return found


def answer(work: Callable[[], Result]) -> None:
    """Works without a word of the libraries, and prints the result for `turns`."""
    warnings.filterwarnings("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    print(json.dumps(work()))


def best(rounds: Mapping[str, list[Result]]) -> dict[str, Result]:
    """The turn of every candidate that made most steps a second."""
    return {name: max(found, key=lambda turn: float(turn["steps"])) for name, found in rounds.items()}


def write(out: Path | None, setup: Result, rounds: Mapping[str, list[Result]]) -> None:
    """Writes the machine, the best and all rounds into a JSON file, if one is asked for."""
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps({"machine": setup, "best": best(rounds), "rounds": rounds}, indent=1) + "\n")
