"""Cost of CARML's E-step against the number of trajectories: EM on features, and features learnt from pictures.

EM over whole trajectories works on their moments, so an iteration costs as much for trajectories as for as many single
states. scikit-learn's mixture, which has no trajectories, is fitted to the states one by one, with the same number of
iterations from the same kind of start. Times are of the processor, the best of some rounds.

    python benchmarks/carml_estep.py --out benchmarks/results/carml_estep.json
"""

import argparse
import json
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import lightning_binding  # noqa: F401  # isort: skip  (before anything imports torchvision)
import numpy as np
import sklearn
import torch
from machine import machine
from sklearn.mixture import GaussianMixture
from torch import Tensor

from lightning_binding.carml.em import fit_mixture
from lightning_binding.carml.features import DiscriminativeFeatures
from lightning_binding.carml.scaffold import Scaffold
from lightning_binding.carml.worlds.point import point_pictures

COMPONENTS, LENGTH, ITERATIONS = 16, 20, 20
TRAJECTORIES = (256, 512, 1024, 2048, 4096)
WIDTHS = (2, 32)
PICTURES = (64, 128, 256)


def walks(count: int, width: int) -> Tensor:
    """Random walks (N, T, d)."""
    steps = torch.randn(count, LENGTH, width, generator=torch.Generator().manual_seed(0))
    return steps.cumsum(1) / LENGTH**0.5


def seconds(call: Callable[[], object], rounds: int) -> float:
    """Best time of the processor, in seconds."""
    best = float("inf")
    for _ in range(rounds):
        start = time.process_time()
        call()
        best = min(best, time.process_time() - start)
    return best


def ours(data: Tensor) -> object:
    """EM over trajectories."""
    generator = torch.Generator().manual_seed(0)
    return fit_mixture(data, COMPONENTS, iterations=ITERATIONS, tolerance=-1.0, generator=generator)


def theirs(data: Tensor) -> object:
    """EM over the states of the trajectories."""
    mixture = GaussianMixture(COMPONENTS, max_iter=ITERATIONS, tol=0, reg_covar=1e-2, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it has not converged
        return mixture.fit(data.flatten(0, 1).double().numpy())


def of_pictures(data: Tensor) -> object:
    """A whole E-step: rounds of clustering and classification, then the mixture."""
    return Scaffold(COMPONENTS, DiscriminativeFeatures(rounds=2, epochs=1)).fit(data)


def main() -> None:
    """Measures, prints and writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="JSON file to write")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--largest", type=int, default=max(TRAJECTORIES), help="most trajectories")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows: dict[str, dict[str, float]] = {}
    print("| trajectories | width | ours, s | scikit-learn on states, s | ratio |\n| --- | --- | --- | --- | --- |")
    for width in WIDTHS:
        for count in (each for each in TRAJECTORIES if each <= options.largest):
            data = walks(count, width)
            mine, other = (seconds(lambda call=call, data=data: call(data), options.rounds) for call in (ours, theirs))
            rows[f"{count} trajectories of {LENGTH} states, width {width}"] = {"ours": mine, "scikit-learn": other}
            print(f"| {count} | {width} | {mine:.3f} | {other:.3f} | {other / mine:.0f} |")
    print("\n| trajectories of pictures | two rounds of features and the mixture, s |\n| --- | --- |")
    for count in (each for each in PICTURES if each <= options.largest):
        places = walks(count, 2).flatten(0, 1).clamp(-1, 1).numpy().astype(np.float32)
        data = torch.from_numpy(point_pictures(places)).unflatten(0, (count, LENGTH))
        taken = seconds(lambda data=data: of_pictures(data), 1)
        rows[f"{count} trajectories of {LENGTH} pictures of 64 px"] = {"ours": taken}
        print(f"| {count} | {taken:.1f} |")
    if options.out:
        setup = machine(1) | {"scikit-learn": sklearn.__version__, "iterations": ITERATIONS, "components": COMPONENTS}
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps({"machine": setup, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
