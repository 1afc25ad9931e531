"""The return of trained agents over many new tasks, with its standard error: most probable and sampled actions.

    lightning-binding fit --config configs/carml/bandit_n10_k5.yaml
    python benchmarks/carml_returns.py --runs runs/bandit_n10_k5/version_0 --tasks 100000 --out …

It is `validate` with the run's own configuration and last checkpoint, other seeds of the tasks, and a callback that
keeps the return of every trial. Recipes whose numbers the README has: bandit_n10_k5, bandit_n10_k10, find_the_arm.
"""

import argparse
import json
import tempfile
import warnings
from pathlib import Path
from typing import Any

import lightning_binding  # noqa: F401  # isort: skip  (before anything imports torchvision)
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from machine import machine, origin

from lightning_binding.carml.meta_rl import MetaRL
from lightning_binding.cli.runs import quieten
from lightning_binding.cli.stages import BindingCLI
from lightning_binding.errors import InputError


class Returns(Callback):
    """Keeps the world's return of every valid trial of a validation."""

    def __init__(self) -> None:
        self.found: list[torch.Tensor] = []

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Takes down those of a rollout."""
        self.found.append(outputs["rollout"].episode_returns().sum(0))


def last_checkpoint(run: Path) -> Path:
    """The last checkpoint of a run's folder.

    Raises:
        InputError: If there is none, or no configuration beside it.
    """
    found = sorted(
        (run / "checkpoints").glob("*.ckpt"), key=lambda path: (path.name == "last.ckpt", path.stat().st_mtime)
    )
    if not found or not (run / "config.yaml").is_file():
        raise InputError(f"--runs: {run} is no folder of a run, which has config.yaml and checkpoints/*.ckpt.")
    return found[-1]


def score(run: Path, tasks: int, envs: int, seed: int, deterministic: bool) -> dict[str, float]:
    """Mean return over new tasks, and its standard error.

    Raises:
        InputError: If the folder holds no run of an agent.
    """
    returns = Returns()
    with tempfile.TemporaryDirectory() as folder:
        options = {
            "config": run / "config.yaml",
            "ckpt_path": last_checkpoint(run),
            "data.eval_trials": tasks,
            "data.eval_envs": envs,
            "data.seed": seed,
            "data.deterministic": str(deterministic).lower(),
            "trainer.default_root_dir": folder,
            "trainer.logger": "false",
            "trainer.callbacks": "null",
            "verbose": "false",
        }
        cli = BindingCLI("validate", [f"--{name}={value}" for name, value in options.items()])
        if not isinstance(cli.model, MetaRL):
            raise InputError(f"--runs: {run} is a run of {type(cli.model).__name__}, which has no returns.")
        cli.trainer.callbacks.append(returns)
        cli.run()
    found = torch.cat(returns.found).double()
    return {
        "return": float(found.mean()),
        "standard_error": float(found.std() / len(found) ** 0.5),
        "tasks": len(found),
        "trained_steps": cli.model.num_env_steps,
    }


def main() -> None:
    """Scores, prints and writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, nargs="+", required=True, help="folders of runs")
    parser.add_argument("--tasks", type=int, default=100_000, help="new tasks for each")
    parser.add_argument("--envs", type=int, default=1000, help="environments at a time")
    parser.add_argument("--seed", type=int, default=1000, help="of the tasks; not one that the run had")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    options = parser.parse_args()
    torch.set_num_threads(1)
    quieten()
    warnings.filterwarnings("ignore", message="Be aware that when using `ckpt_path`")  # those of training
    result: dict[str, Any] = {"machine": machine(1) | origin(), "seed_of_tasks": options.seed, "runs": {}}
    for run in options.runs:
        scores = {
            name: score(run, options.tasks, options.envs, options.seed, name == "most_probable")
            for name in ("most_probable", "sampled")
        }
        result["runs"]["/".join(run.parts[-2:])] = scores
        shown = ", ".join(
            f"{name} {each['return']:.3f} ± {each['standard_error']:.3f}" for name, each in scores.items()
        )
        print(f"{run.name}: {shown} over {options.tasks:,} tasks", flush=True)
        if options.out:
            options.out.parent.mkdir(parents=True, exist_ok=True)
            options.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        raise SystemExit(f"carml_returns: error: {error}") from error
