"""Agent steps a second, learning included, against sb3-contrib's RecurrentPPO, in one run on one machine.

    python benchmarks/carml_bandit.py --out benchmarks/results/carml_bandit.json

Both learn Bernoulli bandits of 5 arms, and 100 or 10 pulls, in the same vector of environments, with the same network
(an LSTM of 64 for the actor, one for the critic, linear heads) and the same batches: 100 steps of each environment, 4
minibatches, 4 passes. Ours runs in Lightning's Trainer with its CSV logger, through the public classes; theirs in
`learn`. Every candidate runs in a process of its own, the first rollouts warm up, candidates take turns over several
rounds, and the best counts. On one thread, time is that of the processor, which other work on a machine lengthens less.
"Rollout alone" is `Collector.collect` without learning.
"""

import argparse
import itertools
import json
import logging
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning_binding  # noqa: F401  # isort: skip  (before anything imports torchvision)
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger
from machine import machine
from sb3_contrib import RecurrentPPO
from stable_baselines3.common.callbacks import BaseCallback

from lightning_binding.carml.collector import Collector
from lightning_binding.carml.data import TrialsDataModule
from lightning_binding.carml.memory import LSTM
from lightning_binding.carml.meta_rl import MetaRL
from lightning_binding.carml.recall import Recall
from lightning_binding.carml.worlds import BernoulliBandit

PULLS, COUNTS = (100, 10), (8, 64)
STEPS, MINIBATCHES, PASSES, HIDDEN, WARM = 100, 4, 4, 64, 3
CANDIDATES = ("RecurrentPPO", "here", "rollout alone")


def clock() -> float:
    """Seconds, of the processor where there is one thread."""
    return time.process_time() if torch.get_num_threads() == 1 else time.perf_counter()


def module(pulls: int) -> MetaRL:
    """The agent that is compared."""
    torch.manual_seed(0)
    return MetaRL(
        BernoulliBandit(5, pulls),
        memory=LSTM(HIDDEN),
        separate_critic=True,
        optimizer=lambda groups: torch.optim.Adam(groups, lr=3e-4, eps=1e-5, fused=True),
    )


class Times(Callback):
    """Takes the time after the rollouts that warm up, and sums up where it went."""

    def __init__(self) -> None:
        self.begun, self.split = 0.0, dict.fromkeys(("environment", "policy", "learning"), 0.0)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Called after the module's own."""
        if trainer.current_epoch + 1 == WARM:
            self.begun = clock()

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The last rollout's times are logged by now."""
        if trainer.current_epoch > WARM:
            for name in self.split:
                self.split[name] += float(trainer.callback_metrics[f"time/{name}"])


def here(pulls: int, count: int, rollouts: int) -> dict[str, Any]:
    """Lightning's Trainer with `MetaRL`."""
    times = Times()
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            max_epochs=WARM + rollouts,
            accelerator="cpu",
            logger=CSVLogger(folder),
            callbacks=[times],
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            limit_val_batches=0,
            gradient_clip_val=0.5,
        )
        data = TrialsDataModule(envs=count, steps=STEPS, minibatches=MINIBATCHES, passes=PASSES)
        trainer.fit(module(pulls), data)
    seconds = clock() - times.begun
    total = sum(times.split.values())
    return {"steps": rollouts * count * STEPS / seconds, "split": {k: v / total for k, v in times.split.items()}}


def rollout_alone(pulls: int, count: int, rollouts: int) -> dict[str, Any]:
    """Acting without learning."""
    agent = module(pulls)
    collector = Collector(agent.world.make(count, 0), agent.world, STEPS)
    for _ in range(WARM):
        collector.collect(agent.agent)
    begun = clock()
    for _ in range(rollouts):
        collector.collect(agent.agent)
    return {"steps": rollouts * count * STEPS / (clock() - begun)}


def recurrent_ppo(pulls: int, count: int, rollouts: int) -> dict[str, Any]:
    """Theirs, on the flat observation of last action, reward and flag."""

    class Begin(BaseCallback):
        begun, seen = 0.0, 0

        def _on_step(self) -> bool:
            return True

        def _on_rollout_start(self) -> None:
            if self.seen == WARM:
                self.begun = clock()
            self.seen += 1

    torch.manual_seed(0)
    learner = RecurrentPPO(
        "MlpLstmPolicy",
        Recall(BernoulliBandit(5, pulls).make(count, 0), flat=True),
        n_steps=STEPS,
        batch_size=count * STEPS // MINIBATCHES,
        n_epochs=PASSES,
        policy_kwargs={"lstm_hidden_size": HIDDEN, "net_arch": {"pi": [], "vf": []}},
        device="cpu",
    )
    begin = Begin()
    learner.learn((WARM + rollouts) * count * STEPS, begin)
    return {"steps": rollouts * count * STEPS / (clock() - begin.begun)}


WORK: dict[str, Callable[[int, int, int], dict[str, Any]]] = {
    "RecurrentPPO": recurrent_ppo,
    "here": here,
    "rollout alone": rollout_alone,
}


def main() -> None:
    """Measures, prints and writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="JSON file to write")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3, help="turns that every candidate gets")
    parser.add_argument("--rollouts", type=int, default=20, help="rollouts that are timed in a turn")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--pulls", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--count", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.worker:
        warnings.filterwarnings("ignore")
        logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
        print(json.dumps(WORK[options.worker](options.pulls, options.count, options.rollouts)))
        return
    settings = list(itertools.product(PULLS, COUNTS))
    rounds: dict[str, list[dict[str, Any]]] = {f"{name}, {each}": [] for each in settings for name in CANDIDATES}
    for _, (pulls, count), name in itertools.product(range(options.rounds), settings, CANDIDATES):
        rollouts = max(2, options.rollouts // 5) if name == "RecurrentPPO" else options.rollouts
        command = [sys.executable, __file__, "--worker", name, "--pulls", str(pulls), "--count", str(count)]
        command += ["--threads", str(options.threads), "--rollouts", str(rollouts)]
        run = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        rounds[f"{name}, {(pulls, count)}"].append(json.loads(run.stdout.splitlines()[-1]))
    best = {name: max(turns, key=lambda turn: turn["steps"]) for name, turns in rounds.items()}
    setup = machine(options.threads)
    report(setup, best)
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps({"machine": setup, "best": best, "rounds": rounds}, indent=1) + "\n")


def report(setup: dict[str, Any], best: dict[str, dict[str, Any]]) -> None:
    """Prints the table, in Markdown."""
    print(f"{setup['processor']}, {setup['threads']} thread(s), torch {setup['torch']}\n")
    print("| pulls | environments | RecurrentPPO, steps/s | here, steps/s | times as fast ", end="")
    print("| environment | policy | learning | rollout alone, steps/s |\n|" + " --- |" * 9)
    for pulls, count in itertools.product(PULLS, COUNTS):
        theirs, ours, alone = (best[f"{name}, {(pulls, count)}"] for name in CANDIDATES)
        print(f"| {pulls} | {count} | {theirs['steps']:,.0f} | {ours['steps']:,.0f} ", end="")
        print(f"| {ours['steps'] / theirs['steps']:.1f} ", end="")
        print("".join(f"| {ours['split'][name]:.0%} " for name in ("environment", "policy", "learning")), end="")
        print(f"| {alone['steps']:,.0f} |")


if __name__ == "__main__":
    main()
