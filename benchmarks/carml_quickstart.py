"""What CARML's quickstart and its baselines reached, from the logs of their runs.

For each seed eight runs: of quickstart.yaml, diayn.yaml, static.yaml, rnd.yaml and scratch.yaml, of finetune.yaml from
the last checkpoints of the first and of RND's, and `validate` of quickstart.yaml without a checkpoint, which is the
agent at its random start. It gives direct transfer at the end of each organise step, and the samples of the hand-made
goals that 80 % success took. carml_quickstart_runs.py makes all of them.

    python benchmarks/carml_quickstart.py --curriculum runs/c0 runs/c1 --diayn runs/d0 runs/d1 --start runs/v0 runs/v1 \
        --scratch runs/s0 runs/s1 --finetune runs/f0 runs/f1 --out benchmarks/results/carml_quickstart.json
"""

import argparse
import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning_binding  # noqa: F401  # isort: skip  (before anything imports torchvision)
from machine import machine, origin

GOAL = 0.8  # success in the second episode of a trial
Points = list[tuple[float, float]]
TRANSFER, ADAPTED = ("curriculum", "diayn", "static", "rnd"), ("scratch", "finetune", "rnd_finetune")
KINDS = (*TRANSFER, "start", *ADAPTED)


def rows_of(folder: Path) -> list[list[dict[str, str]]]:
    """The rows of each log of a run; what was taken up again may have earlier ones, `metrics.0.csv` and so on."""
    logs = []
    for path in [*sorted(folder.glob("metrics.*.csv")), folder / "metrics.csv"]:
        with path.open() as file:
            logs.append(list(csv.DictReader(file)))
    return logs


def curve(folder: Path) -> Points:
    """Samples of the environments, and success in the last episode of a trial, of each validation of a run."""
    found: dict[int, tuple[float, float]] = {}
    for rows in rows_of(folder):
        samples = {int(row["epoch"]): float(row["train/env_steps"]) for row in rows if row.get("train/env_steps")}
        for row in rows:
            if row.get("val/success_last") and int(row["epoch"]) in samples:
                found[int(row["epoch"])] = (samples[int(row["epoch"])], float(row["val/success_last"]))
    return [found[epoch] for epoch in sorted(found)]


def at_start(folder: Path) -> float:
    """Success in the last episode of a trial, in the first validation of a folder."""
    return next(float(row["val/success_last"]) for rows in rows_of(folder) for row in rows if row["val/success_last"])


def needed(points: Points) -> float | None:
    """Samples of the first validation with enough success; None if there was none."""
    return next((samples for samples, success in points if success >= GOAL), None)


def gathered(folders: Mapping[str, Sequence[Path]]) -> dict[str, Any]:
    """What all runs reached; `folders` has those of each kind, one for each seed."""
    curves = {name: [curve(folder) for folder in folders[name]] for name in KINDS if name != "start" and folders[name]}
    transfer = {name: [[success for _, success in run] for run in runs] for name, runs in curves.items()}
    return {
        "transfer": {name: transfer[name] for name in TRANSFER if name in transfer},
        "transfer_at_start": [at_start(folder) for folder in folders["start"]],
        "samples_to_80_percent": {name: [needed(run) for run in curves.get(name, [])] for name in ADAPTED},
        "curves": curves,
    }


def report(result: Mapping[str, Any]) -> None:
    """Prints the tables, in Markdown."""
    print("| direct transfer, after organise step | " + " | ".join("12345") + " |\n| --- |" + " --- |" * 5)
    for name, runs in result["transfer"].items():
        for seed, successes in enumerate(runs):
            print(f"| {name}, seed {seed} | " + " | ".join(f"{success:.2f}" for success in successes) + " |")
    if result["transfer_at_start"]:
        shown = ", ".join(f"{each:.2f}" for each in result["transfer_at_start"])
        print(f"| at the random start, of each seed | {shown} | | | | |")
    print("\n| samples to 80 % | of each seed |\n| --- | --- |")
    for name, found in result["samples_to_80_percent"].items():
        runs = result["curves"].get(name, [])
        shown = (
            f"more than {run[-1][0]:,.0f}" if samples is None else f"{samples:,.0f}"
            for samples, run in zip(found, runs, strict=True)
            if run
        )
        print(f"| {name} | {', '.join(shown)} |")


def write(out: Path, result: Mapping[str, Any]) -> None:
    """Writes the numbers with the machine, the command and the date."""
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps({"machine": machine(1) | origin(), **result}, indent=1) + "\n")


def main() -> None:
    """Reads, prints and writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in KINDS:
        parser.add_argument(f"--{name}", type=Path, nargs="*", default=[], help="folders of runs, one for each seed")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    options = parser.parse_args()
    result = gathered({name: getattr(options, name) for name in KINDS})
    report(result)
    if options.out:
        write(options.out, result)


if __name__ == "__main__":
    main()
