"""How fast a vector of the point world is, and how fast an agent acts in vectors of bandits, without learning.

    python benchmarks/carml_worlds.py --out benchmarks/results/carml_worlds.json

The point world takes random actions in a vector of 64, seen by coordinates and in pictures. "Rollout" is
`Collector.collect` with the agent of carml_bandit.py (an LSTM of 64 for the actor, one for the critic) in bandits of
100 pulls. Every candidate runs in a process of its own on one thread, after some rollouts that warm up; candidates take
turns, and the best counts. Time is that of the processor.
"""

import argparse
import time
from typing import Any

import lightning_binding  # noqa: F401  # isort: skip  (before anything imports torchvision)
import numpy as np
import torch
import turns
from carml_bandit import rollout_alone
from machine import machine, origin

from lightning_binding.carml.worlds import PointWorld

VECTOR, PULLS, COUNTS = 64, 100, (1, 8, 64, 512)
TRIALS = 5  # of the point world in a rollout


def point_world(pictures: bool, rollouts: int) -> dict[str, Any]:
    """Steps of a vector with random actions."""
    world = PointWorld(pictures=pictures)
    envs = world.make(VECTOR, 0)
    length = TRIALS * world.trial_length
    actions = np.random.default_rng(0).uniform(-1, 1, (length, VECTOR, 2)).astype(np.float32)
    envs.reset()
    begun = time.process_time()
    for rollout in range(rollouts + 1):
        if rollout == 1:
            begun = time.process_time()
        for action in actions:
            envs.step(action)
    return {"steps": rollouts * length * VECTOR / (time.process_time() - begun)}


def main() -> None:
    """Measures, prints and writes."""
    parser = turns.parser(__doc__, rounds=3, rollouts=20)
    parser.add_argument("--count", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.worker == "rollout":
        turns.answer(lambda: rollout_alone(PULLS, options.count, options.rollouts))
        return
    if options.worker:
        turns.answer(lambda: point_world(options.worker == "pictures", options.rollouts))
        return
    rollouts = ["--rollouts", str(options.rollouts)]
    candidates = {f"point world, {name}, {VECTOR} environments": [name, *rollouts] for name in ("numbers", "pictures")}
    for count in COUNTS:
        candidates[f"rollout, {PULLS} pulls, {count} environments"] = ["rollout", "--count", str(count), *rollouts]
    rounds, setup = turns.turns(__file__, candidates, options.rounds), machine(1) | origin()
    print(f"{setup['processor']}, one thread, torch {setup['torch']}\n\n| what | steps/s |\n| --- | --- |")
    for name, found in turns.best(rounds).items():
        print(f"| {name} | {found['steps']:,.0f} |")
    turns.write(options.out, setup, rounds)


if __name__ == "__main__":
    main()
