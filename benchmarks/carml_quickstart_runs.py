"""Makes all runs of CARML's quickstart and its baselines, one after the other, and then their table.

    python benchmarks/carml_quickstart_runs.py --out benchmarks/results/carml_quickstart.json

For each seed: `fit` of quickstart.yaml, static.yaml, diayn.yaml, rnd.yaml and scratch.yaml, of finetune.yaml from the
last checkpoints of the first and of RND's, and `validate` of quickstart.yaml without a checkpoint. Each is a command of
`lightning-binding` in a process of its own on one thread, in the folder `<runs>/<kind>_<seed>`. What is finished is not
made again, and what was interrupted goes on from its newest checkpoint: after a stop, give the same command. Options
behind `--` are those of every run, such as `-- --trainer.enable_progress_bar=false`.
"""

import argparse
import json
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path

import lightning_binding  # noqa: F401  # isort: skip  (before anything imports torchvision)
from carml_quickstart import KINDS, gathered, report, write

CONFIGS = Path(__file__).parents[1] / "configs" / "carml"
RECIPES = {
    "curriculum": "quickstart",
    "start": "quickstart",
    "rnd_finetune": "finetune",
}  # if not named as the kind
BEFORE = {"finetune": "curriculum", "rnd_finetune": "rnd"}  # the kind of run whose agent a run goes on from


def arguments(kind: str, seed: int, runs: Path) -> list[str]:
    """The command line of a run."""
    config = CONFIGS / f"{RECIPES.get(kind, kind)}.yaml"
    found = [f"--config={config}", f"--seed_everything={seed}", f"--trainer.default_root_dir={runs / f'{kind}_{seed}'}"]
    if kind == "start":
        return ["validate", *found]
    if kind in BEFORE:
        found += [f"--model.init_from={runs / f'{BEFORE[kind]}_{seed}' / 'checkpoints' / 'last.ckpt'}"]
    return ["fit", *found, "--resume=auto"]


def run(kind: str, seed: int, runs: Path, extra: list[str]) -> Path:
    """Makes a run, unless it is finished; returns its folder.

    Raises:
        SystemExit: If it fails, with the end of what it said.
    """
    folder = runs / f"{kind}_{seed}"
    finished, command = folder / "finished.json", [*arguments(kind, seed, runs), *extra]
    if finished.exists() and json.loads(finished.read_text())["options"] == extra:
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    whole, begun = not list(folder.rglob("*.ckpt")), time.perf_counter()
    print(f"{folder.name}: lightning-binding {shlex.join(command)}", flush=True)
    with (folder / "output.log").open("a") as log:
        status = subprocess.run(
            [sys.executable, "-m", "lightning_binding", *command],
            stdout=log,
            stderr=subprocess.STDOUT,
            check=False,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        ).returncode
    if status:
        raise SystemExit(f"{folder.name} ended with {status}; {folder / 'output.log'} says:\n{tail(folder)}")
    seconds = round(time.perf_counter() - begun, 1) if whole else None  # of a run that was not interrupted
    finished.write_text(json.dumps({"seconds": seconds, "options": extra}) + "\n")
    return folder


def tail(folder: Path, length: int = 2000) -> str:
    """The end of what a run said."""
    return (folder / "output.log").read_text(errors="replace")[-length:].strip()


def main() -> None:
    """Runs, prints and writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, default=Path("runs/carml_quickstart"), help="folder of the runs")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--out", type=Path, help="JSON file to write")
    parser.add_argument("extra", nargs="*", metavar="-- OPTION", help="options of every run")
    options = parser.parse_args()
    folders: dict[str, list[Path]] = {kind: [] for kind in KINDS}
    for seed in options.seeds:
        for kind in KINDS:
            folders[kind].append(run(kind, seed, options.runs, options.extra))
    made = {each.name: json.loads((each / "finished.json").read_text()) for runs in folders.values() for each in runs}
    result = {
        "seeds": options.seeds,
        "options": options.extra,
        "seconds": {name: each["seconds"] for name, each in made.items()},
        **gathered(folders),
    }
    report(result)
    if options.out:
        write(options.out, result)


if __name__ == "__main__":
    main()
