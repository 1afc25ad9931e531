"""Updates of the Fréchet distance at 2,048 features against torchmetrics' own, in one run.

    python benchmarks/frechet.py --out benchmarks/results/frechet.json

Both are given the same features (the extractor is the identity), 50 at a time, in turns over several rounds; the best
round counts. The distances are compared too.
"""

import argparse
import json
import time
from pathlib import Path

import lightning_binding  # noqa: F401  # isort: skip  (before anything imports torchvision)
import torch
from suite.setting import commit
from torch import Tensor, nn
from torchmetrics.image.fid import FrechetInceptionDistance

from lightning_binding.metrics import FrechetDistance

DIM, BATCH = 2048, 50


class Identity(nn.Module):
    """Features that are given."""

    num_features = DIM

    def forward(self, features: Tensor) -> Tensor:
        """Returns what it is given."""
        return features


def seconds(metric: FrechetDistance | FrechetInceptionDistance, features: Tensor, real: bool) -> float:
    """Time to add the features in batches, with nothing left waiting."""
    start = time.perf_counter()
    for batch in features.split(BATCH):
        metric.update(batch, real=real)
    if isinstance(metric, FrechetDistance):
        metric.flush()
    return time.perf_counter() - start


def main() -> None:
    """Measures, prints and writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="JSON file to write")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--images", type=int, default=4000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    mixing = torch.randn(DIM, DIM) / DIM**0.5
    real, fake = torch.randn(options.images, DIM) @ mixing, 1.1 * torch.randn(options.images, DIM) @ mixing + 0.05
    best = {"ours": float("inf"), "torchmetrics": float("inf")}
    for _ in range(options.rounds):
        metrics = {
            "torchmetrics": FrechetInceptionDistance(feature=Identity()).set_dtype(torch.float64),
            "ours": FrechetDistance(Identity()),
        }
        for name, metric in metrics.items():
            best[name] = min(best[name], seconds(metric, real, real=True))
    values = {}
    for name, metric in metrics.items():
        seconds(metric, fake, real=False)
        values[name] = float(metric.compute())
    ratio = best["torchmetrics"] / best["ours"]
    print("| metric | images/s | distance |\n| --- | --- | --- |")
    for name, taken in best.items():
        print(f"| {name} | {options.images / taken:,.0f} | {values[name]:.10f} |")
    difference = abs(values["ours"] / values["torchmetrics"] - 1)
    print(f"\nours / torchmetrics: {ratio:.1f} times the images per second; relative difference {difference:.1e}")
    assert difference < 1e-6
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        result = {"commit": commit(), "threads": options.threads, "torch": torch.__version__}
        result |= {"seconds": best, "ratio": ratio}
        options.out.write_text(json.dumps(result | {"distance": values}, indent=1) + "\n")


if __name__ == "__main__":
    main()
