"""What CARML's quickstart hangs on: runs it with other lambdas and other numbers of components.

    python benchmarks/carml_ablation.py --out benchmarks/results/carml_ablation.json

Every run is `fit` of quickstart.yaml with one value changed, on one thread of the CPU. What counts is direct transfer,
`val/success_last`, after each of the five organise steps. The quickstart itself has lambda 0.9 and 16 components: its
numbers are in carml_quickstart.json. Runs that the file has already are not made again.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import lightning_binding  # noqa: F401  # isort: skip  (before anything imports torchvision)
from carml_quickstart import curve
from machine import machine

CONFIG = Path(__file__).parents[1] / "configs" / "carml" / "quickstart.yaml"
CHANGES = {
    "lam": ("model.lam", (1.0, 0.5, 0.99, 0.0)),
    "components": ("model.scaffold.components", (4, 8, 32)),
}


def run(option: str, value: float, seed: int) -> dict[str, Any]:
    """One run; direct transfer after each organise step."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "lightning_binding", "fit", "--config", str(CONFIG), f"--{option}={value}"]
        command += [f"--seed_everything={seed}", "--trainer.callbacks=null", "--trainer.enable_progress_bar=false"]
        command += ["--trainer.logger=CSVLogger", f"--trainer.logger.save_dir={folder}"]
        command += [f"--trainer.default_root_dir={folder}"]
        begun = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
        seconds = time.perf_counter() - begun
        points = curve(next(Path(folder).rglob("metrics.csv")).parent)
    return {"success": [round(success, 4) for _, success in points], "samples": points[-1][0], "seconds": seconds}


def main() -> None:
    """Runs, prints and writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="JSON file to write, and to go on from")
    parser.add_argument("--seeds", type=int, default=3, help="runs of every value")
    options = parser.parse_args()
    result: dict[str, Any] = json.loads(options.out.read_text()) if options.out.exists() else {"runs": {}}
    result["machine"] = machine(1)
    for seed in range(options.seeds):
        for name, (option, values) in CHANGES.items():
            for value in values:
                key = f"{name}={value}, seed {seed}"
                if key not in result["runs"]:
                    result["runs"][key] = run(option, value, seed)
                    print(key, result["runs"][key], flush=True)
                    options.out.write_text(json.dumps(result, indent=1) + "\n")
    report(result["runs"], options.seeds)


def report(runs: dict[str, Any], seeds: int) -> None:
    """Prints the table, in Markdown."""
    print("| changed | last transfer, of each seed | mean | mean of the best step |\n| --- | --- | --- | --- |")
    for name, (_, values) in CHANGES.items():
        for value in values:
            found = [runs[f"{name}={value}, seed {seed}"]["success"] for seed in range(seeds)]
            last = [each[-1] for each in found]
            shown = ", ".join(f"{each:.2f}" for each in last)
            best = statistics.mean(max(each) for each in found)
            print(f"| {name} {value} | {shown} | {statistics.mean(last):.2f} | {best:.2f} |")


if __name__ == "__main__":
    main()
