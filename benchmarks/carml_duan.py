"""Trains cells of Duan's tables by growing trials, each in a few minutes: bandits of K arms, and tabular MDPs.

    python benchmarks/carml_duan.py k5 --out runs/duan        # 20, 100 and 500 pulls of 5 arms, on one core
    python benchmarks/carml_duan.py mdp --out runs/duan       # 10 episodes; then mdp25 to mdp100, from its weights

Every phase is `fit` of a recipe from the weights of the phase before, with longer trials. It first makes eight rollouts
to see how long one takes, then as many as its seconds allow, while the learning rate falls to 0. For every phase there
are weights (`init_from`) and a JSON file: the command line, the curve, and the return of most probable actions.
"""

import argparse
import csv
import json
import time
from pathlib import Path
from typing import Any, NamedTuple

import lightning_binding  # noqa: F401  # isort: skip  (before anything imports torchvision)
import torch
from suite.setting import commit

from lightning_binding.cli import main as command_line


class Phase(NamedTuple):
    """A run: its name, recipe, pulls or episodes of a trial, seconds, learning rate, weight of the entropy."""

    name: str
    recipe: str
    size: int
    seconds: float
    rate: float
    entropy: float

    @property
    def length(self) -> int:
        """Steps of a trial."""
        return self.size if self.recipe.startswith("bandit") else 10 * self.size


def arms(count: int) -> list[Phase]:
    """Phases of a bandit; with 50 arms the first one is a cell of the table."""
    first = Phase(f"k{count}_first", f"bandit_n100_k{count}", 20, 80, 2e-3, 0.02)
    if count == 50:
        first = Phase("n10_k50", "bandit_n10_k50", 10, 100, 2e-3, 0.01)
    hundred = Phase(f"n100_k{count}", f"bandit_n100_k{count}", 100, 130 if count == 50 else 140, 1e-3, 0.02)
    return [first, hundred, Phase(f"n500_k{count}", f"bandit_n500_k{count}", 500, 120, 7e-4, 0.01)]


def episodes(count: int, seconds: float, rate: float) -> list[Phase]:
    """The phase of an MDP."""
    return [Phase(f"mdp_n{count}", f"mdp_n{count}", count, seconds, rate, 0.01)]


CHAINS = {f"k{count}": arms(count) for count in (5, 10, 50)} | {"mdp": episodes(10, 210, 2e-3)}
CHAINS |= {f"mdp{count}": episodes(count, 120, 1e-3) for count in (25, 50, 75, 100)}


def settings(phase: Phase, chain: str, accelerator: str) -> dict[str, Any]:
    """What depends on the length of trials and on the device; with a GPU, batches are large."""
    large, length = "mdp" in chain or chain == "k50", phase.length
    if accelerator == "gpu":
        hidden, envs, minibatches = 256 if large else 128, 2048 if length <= 250 else 1024, 4
    else:
        hidden, envs, minibatches = 128 if large else 64, max(64, min(256, 12800 // length)), 8 if length <= 200 else 4
    bandit = phase.recipe.startswith("bandit")
    horizon = (1 - 0.99**length) / 0.01
    return {
        "model.return_scale": round(horizon * (0.45 if bandit else 0.9), 1),
        "model.memory.hidden": hidden,
        "model.entropy_weight": phase.entropy,
        "model.optimizer.lr": phase.rate / 2 if hidden > 128 else phase.rate,
        f"model.world.{'pulls' if bandit else 'episodes'}": phase.size,
        "data.envs": envs,
        "data.steps": length,
        "data.minibatches": minibatches,
        "data.eval_trials": 4000,
        "data.eval_envs": 1000,
        "trainer.accelerator": accelerator,
        "trainer.devices": 1,
    }


def fit(phase: Phase, known: dict[str, Any], rollouts: int, folder: Path) -> tuple[list[str], list[dict[str, str]]]:
    """A run of so many rollouts; returns its command line, and its log."""
    steps = known["data.minibatches"] * 4
    options = known | {
        "model.scheduler.total_steps": rollouts * steps,
        "trainer.max_epochs": rollouts,
        "trainer.check_val_every_n_epoch": rollouts,
        "trainer.default_root_dir": folder,
        "trainer.enable_progress_bar": "false",
        "trainer.enable_model_summary": "false",
        "trainer.log_every_n_steps": steps,
        "trainer.callbacks": "null",
        "trainer.callbacks+": "ModelCheckpoint",
        "trainer.callbacks.every_n_epochs": rollouts,
        "trainer.callbacks.save_last": "true",
        "trainer.logger": "CSVLogger",
        "trainer.logger.save_dir": folder,
    }
    config = Path(__file__).parents[1] / "configs" / "carml" / f"{phase.recipe}.yaml"
    arguments = ["fit", f"--config={config}", *(f"--{name}={value}" for name, value in options.items())]
    command_line(arguments)
    log = max(folder.rglob("metrics.csv"), key=lambda path: path.stat().st_mtime)
    with log.open() as file:
        return arguments, list(csv.DictReader(file))


def seconds_of(row: dict[str, str]) -> float:
    """Seconds of a rollout and of learning from it."""
    return sum(float(value) for name, value in row.items() if name.startswith("time/") and value)


def train(phase: Phase, known: dict[str, Any], seconds: float, out: Path) -> Path:
    """A phase; returns the file of its weights."""
    begun, folder = time.perf_counter(), out / "runs" / phase.name
    rows = fit(phase, known | {"trainer.limit_val_batches": 0}, 8, folder / "look")[1]
    spent = [seconds_of(row) for row in rows if row.get("train/return")][3:]
    rollouts = max(4, int((seconds - (time.perf_counter() - begun)) / (1.05 * sum(spent) / len(spent))))
    begun = time.perf_counter()
    arguments, rows = fit(phase, known, rollouts, folder / "run")
    record = {
        "commit": commit(),
        "arguments": arguments,
        "rollouts": rollouts,
        "seconds": time.perf_counter() - begun,
        "steps": max(float(row["train/env_steps"]) for row in rows if row.get("train/env_steps")),
        "returns": [float(row["train/return"]) for row in rows if row.get("train/return")],
        "evaluated": [float(row["val/return"]) for row in rows if row.get("val/return")],
    }
    (out / f"{phase.name}.json").write_text(json.dumps(record, indent=1) + "\n")
    last = max((folder / "run").rglob("last.ckpt"), key=lambda path: path.stat().st_mtime)
    state = torch.load(last, map_location="cpu", weights_only=True)["state_dict"]
    torch.save({"state_dict": state}, out / f"{phase.name}.pt")
    print(f"{phase.name}: {record['seconds']:.0f} s, {record['steps']:,.0f} steps, {record['evaluated'][-1]:.2f}")
    return out / f"{phase.name}.pt"


def main() -> None:
    """Trains the phases of a chain."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("chain", choices=list(CHAINS))
    parser.add_argument("--out", type=Path, required=True, help="folder for weights and records")
    parser.add_argument("--accelerator", choices=("cpu", "gpu"), default="cpu")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--speed", type=float, default=1.0, help="factor of the seconds of every phase")
    options = parser.parse_args()
    torch.set_num_threads(1)
    weights = options.out / "mdp_n10.pt" if options.chain.removeprefix("mdp").isdigit() else None
    for phase in CHAINS[options.chain]:
        known = settings(phase, options.chain, options.accelerator) | {"seed_everything": options.seed}
        if weights is not None:
            known["model.init_from"] = weights
        weights = train(phase, known, options.speed * phase.seconds, options.out)


if __name__ == "__main__":
    main()
