"""What CARML's quickstart and its baselines reached, from the logs of their runs.

For each seed four runs, of quickstart.yaml, diayn.yaml, scratch.yaml, and finetune.yaml from the last checkpoint of the
first: direct transfer at the end of each organise step, and the samples of the hand-made goals that 80 % success took.

    python benchmarks/carml_quickstart.py --curriculum runs/c0 runs/c1 --diayn runs/d0 runs/d1 \
        --scratch runs/s0 runs/s1 --finetune runs/f0 runs/f1 --out benchmarks/results/carml_quickstart.json
"""

import argparse
import csv
import json
from pathlib import Path
from typing import Any

import lightning_binding  # noqa: F401  # isort: skip  (before anything imports torchvision)
from machine import machine

GOAL = 0.8  # success in the second episode of a trial


def curve(folder: Path) -> list[tuple[float, float]]:
    """Samples of the environments, and success in the last episode of a trial, of each validation of a run.

    A run that was taken up again has its earlier metrics in `metrics.0.csv` and so on.
    """
    found: dict[int, tuple[float, float]] = {}
    for path in [*sorted(folder.glob("metrics.*.csv")), folder / "metrics.csv"]:
        with path.open() as file:
            rows = list(csv.DictReader(file))
        samples = {int(row["epoch"]): float(row["train/env_steps"]) for row in rows if row.get("train/env_steps")}
        for row in rows:
            if row.get("val/success_last") and int(row["epoch"]) in samples:
                found[int(row["epoch"])] = (samples[int(row["epoch"])], float(row["val/success_last"]))
    return [found[epoch] for epoch in sorted(found)]


def needed(points: list[tuple[float, float]]) -> float | None:
    """Samples of the first validation with enough success; None if there was none."""
    return next((samples for samples, success in points if success >= GOAL), None)


def main() -> None:
    """Reads, prints and writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("curriculum", "diayn", "static", "rnd", "scratch", "finetune"):
        parser.add_argument(f"--{name}", type=Path, nargs="*", default=[], help="folders of runs, one for each seed")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    options = parser.parse_args()
    result: dict[str, Any] = {"machine": machine(1), "transfer": {}, "samples_to_80_percent": {}, "curves": {}}
    print("| direct transfer, after organise step | " + " | ".join("12345") + " |\n| --- |" + " --- |" * 5)
    for name in ("curriculum", "diayn", "static", "rnd"):
        runs = [curve(folder) for folder in getattr(options, name)]
        for seed, points in enumerate(runs):
            print(f"| {name}, seed {seed} | " + " | ".join(f"{success:.2f}" for _, success in points) + " |")
        if runs:
            result["transfer"][name] = [[success for _, success in points] for points in runs]
            result["curves"][name] = runs
    print("\n| samples to 80 % | of each seed |\n| --- | --- |")
    for name in ("scratch", "finetune"):
        runs = [curve(folder) for folder in getattr(options, name)]
        result["samples_to_80_percent"][name] = [needed(points) for points in runs]
        result["curves"][name] = runs
        print(f"| {name} | {', '.join(str(each) for each in result['samples_to_80_percent'][name])} |")
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
