"""Agent steps a second in a room of ViZDoom, learning included, against sb3-contrib's RecurrentPPO, in one run.

    python benchmarks/carml_doom.py --out benchmarks/results/carml_doom.json

Pictures of 64 x 64, frame skip 4, 2 environments. Both have the same vector of environments, the same network
(NatureCNN with 256 features, an LSTM of 256 for the actor, one for the critic, linear heads; last action, reward and
flag beside the features) and the same batches (240 steps of each environment, 4 minibatches of two trials, 4 passes).
Every candidate runs in a process of its own on one thread, the first rollout warms up, candidates take turns over
several rounds, and the best counts. Time is that of the processor, with the engines' own: all work is done one after
the other, so that it is the time of the wall where nothing else runs. "One environment alone" is the room with random
actions.
"""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning_binding  # noqa: F401  # isort: skip  (before anything imports torchvision)
import numpy as np
import torch
import turns
from lightning.pytorch import Trainer
from machine import machine
from sb3_contrib import RecurrentPPO
from stable_baselines3.common.callbacks import BaseCallback

from lightning_binding.carml.data import TrialsDataModule
from lightning_binding.carml.encoders import NatureCNN
from lightning_binding.carml.memory import LSTM
from lightning_binding.carml.meta_rl import MetaRL
from lightning_binding.carml.recall import Recall
from lightning_binding.carml.worlds.doom import DoomRoomWorld

COUNT, STEPS, MINIBATCHES, PASSES, HIDDEN, FEATURES, WARM = 2, 240, 4, 4, 256, 256, 1
CANDIDATES = ("RecurrentPPO", "here", "one environment alone")


def processor() -> float:
    """Seconds of the processor of this process and its children, the engines (Linux)."""
    total, pids = 0.0, [os.getpid()]
    for pid in pids:
        pids += [
            int(child) for task in Path(f"/proc/{pid}/task").glob("*/children") for child in task.read_text().split()
        ]
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        total += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return total


class Watch:
    """Time since it was begun: of the processor, and of the wall."""

    def begin(self) -> None:
        """Begins anew."""
        self.wall, self.processor = time.perf_counter(), processor()

    def rates(self, steps: int) -> dict[str, float]:
        """Steps a second of each."""
        return {"steps": steps / (processor() - self.processor), "by_wall": steps / (time.perf_counter() - self.wall)}


def here(world: DoomRoomWorld, rollouts: int) -> dict[str, Any]:
    """Lightning's Trainer with `MetaRL`."""
    torch.manual_seed(0)
    module = MetaRL(
        world,
        encoder=NatureCNN(FEATURES),
        memory=LSTM(HIDDEN),
        separate_critic=True,
        optimizer=lambda groups: torch.optim.Adam(groups, lr=3e-4, eps=1e-5, fused=True),
    )
    watch = Watch()
    times = turns.Times(WARM, watch.begin)
    trainer = Trainer(
        max_epochs=WARM + rollouts,
        accelerator="cpu",
        logger=False,
        callbacks=[times],
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        limit_val_batches=0,
        gradient_clip_val=0.5,
    )
    trainer.fit(module, TrialsDataModule(envs=COUNT, steps=STEPS, minibatches=MINIBATCHES, passes=PASSES))
    return {**watch.rates(rollouts * COUNT * STEPS), "split": times.split}


def recurrent_ppo(world: DoomRoomWorld, rollouts: int) -> dict[str, Any]:
    """Theirs, on a dict of the picture, and of last action, reward and flag."""

    class Split(BaseCallback):
        """The same split, with the policy's time among the environment's."""

        def __init__(self) -> None:
            super().__init__()
            self.watch, self.seen, self.acting, self.begun = Watch(), 0, 0.0, 0.0

        def _on_step(self) -> bool:
            return True

        def _on_rollout_start(self) -> None:
            self.begun = time.perf_counter()
            if self.seen == WARM:
                self.watch.begin()
            self.seen += 1

        def _on_rollout_end(self) -> None:
            self.acting += (time.perf_counter() - self.begun) * (self.seen > WARM)

    torch.manual_seed(0)
    learner = RecurrentPPO(
        "MultiInputLstmPolicy",
        Recall(world.make(COUNT, 0)),
        n_steps=STEPS,
        batch_size=COUNT * STEPS // MINIBATCHES,
        n_epochs=PASSES,
        policy_kwargs={
            "lstm_hidden_size": HIDDEN,
            "net_arch": {"pi": [], "vf": []},
            "features_extractor_kwargs": {"cnn_output_dim": FEATURES},
        },
        device="cpu",
    )
    split = Split()
    learner.learn((WARM + rollouts) * COUNT * STEPS, split)
    rates = split.watch.rates(rollouts * COUNT * STEPS)
    acting = split.acting * rates["by_wall"] / (rollouts * COUNT * STEPS)
    learner.env.close()
    return {**rates, "split": {"environment and policy": acting, "learning": 1 - acting}}


def alone(world: DoomRoomWorld, rollouts: int) -> dict[str, Any]:
    """One environment in this process, with random actions."""
    room, actions = world.make_one(), np.random.default_rng(0).integers(3, size=rollouts * STEPS)
    room.reset(seed=0)
    watch = Watch()
    watch.begin()
    for action in actions:
        room.step(int(action))
    found = watch.rates(len(actions))
    room.close()
    return dict(found)


WORK: dict[str, Callable[[DoomRoomWorld, int], dict[str, Any]]] = {
    "RecurrentPPO": recurrent_ppo,
    "here": here,
    "one environment alone": alone,
}


def main() -> None:
    """Measures, prints and writes."""
    options = turns.parser(__doc__, rounds=3, rollouts=6).parse_args()
    torch.set_num_threads(1)
    if options.worker:
        turns.answer(lambda: WORK[options.worker](DoomRoomWorld(processes=False), options.rollouts))
        return
    candidates = {name: [name, "--rollouts", str(options.rollouts)] for name in CANDIDATES}
    rounds, setup = turns.turns(__file__, candidates, options.rounds), machine(1)
    best = turns.best(rounds)
    print(f"{setup['processor']}, one thread, torch {setup['torch']}\n")
    for name, found in best.items():
        split = ", ".join(f"{part} {share:.0%}" for part, share in found.get("split", {}).items())
        print(f"| {name} | {found['steps']:,.0f} steps/s | {split} |")
    print(f"{best['here']['steps'] / best['RecurrentPPO']['steps']:.1f} times as fast")
    turns.write(options.out, setup, rounds)


if __name__ == "__main__":
    main()
