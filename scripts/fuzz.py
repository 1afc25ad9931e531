"""Fuzzes the readers of users' files: `python scripts/fuzz.py --count 100000 --out benchmarks/results/fuzz.json`.

Crashes, hangs, and files that an input leaves anywhere in a sandbox are counted for each reader; an input that fails is
kept under `--keep`. A reader that ends the process would end this script: the last input is then found in the sandbox.
"""

import argparse
import json
import os
import random
import sys
import tempfile
import time
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from fuzz.targets import failure, mutate, targets

SHARES = {"mask": 20, "points": 14, "safetensors": 10, "statistics": 10, "export": 9, "checkpoint": 6, "config": 4}
SHARES |= {"chunk": 8, "shard_index": 5, "joints": 5, "cifar_python": 4, "cifar_binary": 3, "options": 1}
"""Percent of the inputs for each reader, by how fast it is; what remains goes to videos."""
MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None  # ten times as many inputs a second as on a disk


def main() -> None:
    """Runs."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--count", type=int, default=100_000)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--only", nargs="*")
    options.add_argument("--keep", type=Path, default=Path("fuzz_failures"))
    options.add_argument("--out", type=Path)
    given = options.parse_args()
    keep, out = given.keep.absolute(), given.out and given.out.absolute()
    warnings.simplefilter("ignore")
    results = {}
    with tempfile.TemporaryDirectory() as made, tempfile.TemporaryDirectory(dir=MEMORY) as place:
        sandbox = Path(place)
        os.chdir(sandbox)
        for name, target in targets(Path(made)).items():
            if given.only and name not in given.only:
                continue
            count = given.count * SHARES.get(name, 100 - sum(SHARES.values())) // 100
            draw, started = random.Random(f"{given.seed} {name}"), time.monotonic()
            path, found, written = sandbox / f"input{target.ending}", {}, 0
            for _ in range(count):
                path.write_bytes(content := mutate(draw.choice(target.seeds), draw))
                if (wrong := failure(target, path)) is not None:
                    key = wrong[:100]
                    if key not in found:
                        keep.mkdir(parents=True, exist_ok=True)
                        (keep / f"{name}-{len(found)}{target.ending}").write_bytes(content)
                    found[key] = found.get(key, 0) + 1
                written += os.listdir(sandbox) != [path.name]
            path.unlink()
            results[name] = {
                "inputs": count,
                "seconds": round(time.monotonic() - started, 1),
                "failures": found,
                "inputs_that_left_files": written,
            }
            print(name, results[name], flush=True)
            if out:
                out.write_text(json.dumps({"seed": given.seed, "targets": results}, indent=2) + "\n")
    wrong = [name for name, found in results.items() if found["failures"] or found["inputs_that_left_files"]]
    sys.exit(f"These fail, see {keep}: {', '.join(wrong)}" if wrong else 0)


if __name__ == "__main__":
    main()
