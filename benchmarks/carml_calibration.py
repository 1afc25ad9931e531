"""What the tasks of a fit pay for single states in the room of Doom, with more learning of features, and calibrated.

    python benchmarks/carml_calibration.py --out benchmarks/results/carml_calibration.json

A random policy walks 512 trajectories that scaffolds are fitted to, and 256 that are held out. The reward is r_z at lam
of 1, log q(z|s) - log q(z), in nats: of a held-out trajectory's own task, the mean of its states and that of its first;
and of all tasks. Needs the extra `doom`.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import lightning_binding  # noqa: F401  # isort: skip  (before anything imports torchvision)
import numpy as np
import torch
from machine import machine, origin
from torch import Tensor

from lightning_binding.carml.covariance import FullCovariance
from lightning_binding.carml.encoders import NatureCNN
from lightning_binding.carml.features import DiscriminativeFeatures
from lightning_binding.carml.scaffold import Scaffold
from lightning_binding.carml.worlds.doom import DoomRoomWorld

HORIZON, FITTED, HELD_OUT = 30, 512, 256
FEATURES = {"64 trajectories a step, 2 epochs": (64, 2), "8 trajectories a step, 4 epochs": (8, 4)}


def walks(count: int, seed: int) -> Tensor:
    """Trajectories of a policy that draws its actions evenly, uint8 (count, 30, 3, 64, 64)."""
    room = DoomRoomWorld(horizon=HORIZON, maps=1, rewarded=False, processes=False).make_one()
    generator = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        room.reset(options={"task": {"map": 0, "goal": 0}})
        found.append([room.step(int(generator.integers(3)))[0] for _ in range(HORIZON)])
    room.close()
    return torch.from_numpy(np.array(found))


def paid(scaffold: Scaffold, trajectories: Tensor) -> dict[str, float]:
    """Means of r_z."""
    likelihood = torch.cat([scaffold.log_likelihood(part) for part in trajectories.split(64)])
    rewards = likelihood - (likelihood + scaffold.log_prior).logsumexp(-1, keepdim=True)
    z = torch.cat([scaffold.assign(part) for part in trajectories.split(64)])
    own = rewards.gather(-1, z[:, None, None].expand(-1, HORIZON, 1)).squeeze(-1)
    return {"own": float(own.mean()), "own_first": float(own[:, 0].mean()), "all": float(rewards.mean())}


def measured(batch: int, epochs: int, calibrated: bool, fitted: Tensor, held_out: Tensor, seed: int) -> dict[str, Any]:
    """One fit and what it pays."""
    features = DiscriminativeFeatures(NatureCNN(256), width=32, rounds=5, epochs=epochs, batch=batch)
    scaffold = Scaffold(16, features, FullCovariance(floor=0.1), seed=seed, calibrated=calibrated)
    begun = time.process_time()
    fit = scaffold.fit(fitted)
    seconds = time.process_time() - begun
    return {"seconds": round(seconds, 1), "noise": fit.noise, **fit.told, **paid(scaffold, held_out)}


def main() -> None:
    """Prints and writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="of trajectories and fits")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    options = parser.parse_args()
    torch.set_num_threads(1)
    found: list[dict[str, Any]] = []
    for seed in options.seeds:
        fitted, held_out = walks(FITTED, 2 * seed), walks(HELD_OUT, 2 * seed + 1)
        for name, (batch, epochs) in FEATURES.items():
            for calibrated in (False, True):
                row = measured(batch, epochs, calibrated, fitted, held_out, seed)
                found.append({"features": name, "calibrated": calibrated, "seed": seed, **row})
                print(found[-1], flush=True)
                if options.out:
                    result = {"machine": machine(1) | origin(), "fits": found}
                    options.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
