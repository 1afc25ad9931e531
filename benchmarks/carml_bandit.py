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
import tempfile
import time
from collections.abc import Callable
from typing import Any

import lightning_binding  # noqa: F401  # isort: skip  (before anything imports torchvision)
import torch
import turns
from lightning.pytorch import Trainer
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


def here(pulls: int, count: int, rollouts: int) -> dict[str, Any]:
    """Lightning's Trainer with `MetaRL`."""
    begun: list[float] = []
    times = turns.Times(WARM, lambda: begun.append(clock()))
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
    return {"steps": rollouts * count * STEPS / (clock() - begun[0]), "split": times.split}


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
    parser = turns.parser(__doc__, rounds=3, rollouts=20)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--pulls", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--count", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.worker:
        turns.answer(lambda: WORK[options.worker](options.pulls, options.count, options.rollouts))
        return
    candidates = {}
    for pulls, count, name in itertools.product(PULLS, COUNTS, CANDIDATES):
        rollouts = max(2, options.rollouts // 5) if name == "RecurrentPPO" else options.rollouts
        arguments = [name, "--pulls", str(pulls), "--count", str(count)]
        arguments += ["--threads", str(options.threads), "--rollouts", str(rollouts)]
        candidates[label(name, pulls, count)] = arguments
    rounds, setup = turns.turns(__file__, candidates, options.rounds), machine(options.threads)
    report(setup, turns.best(rounds))
    turns.write(options.out, setup, rounds)


def label(name: str, pulls: int, count: int) -> str:
    """The name of a candidate in a setting."""
    return f"{name}, {pulls} pulls, {count} environments"


def report(setup: dict[str, Any], best: dict[str, dict[str, Any]]) -> None:
    """Prints the table, in Markdown."""
    print(f"{setup['processor']}, {setup['threads']} thread(s), torch {setup['torch']}\n")
    print("| pulls | environments | RecurrentPPO, steps/s | here, steps/s | times as fast ", end="")
    print("| environment | policy | learning | rollout alone, steps/s |\n|" + " --- |" * 9)
    for pulls, count in itertools.product(PULLS, COUNTS):
        theirs, ours, alone = (best[label(name, pulls, count)] for name in CANDIDATES)
        print(f"| {pulls} | {count} | {theirs['steps']:,.0f} | {ours['steps']:,.0f} ", end="")
        print(f"| {ours['steps'] / theirs['steps']:.1f} ", end="")
        print("".join(f"| {ours['split'][name]:.0%} " for name in turns.PARTS), end="")
        print(f"| {alone['steps']:,.0f} |")


if __name__ == "__main__":
    main()
