"""Fuzzes the readers of `scripts/fuzz.py` with atheris, which goes on from the inputs that reach new lines.

    pip install atheris
    python scripts/fuzz_guided.py --count 100000 --out benchmarks/results/fuzz_guided.json

Each reader has a fork of this process, so that one that ends its process costs but itself; an input that fails is kept
under `--keep`. Lines are counted in this package and in parsers of libraries that are written in Python; the decoder of
videos is another process, of which only what is said to it and what it answers is seen.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import atheris

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
WATCHED = ["lightning_binding", "PIL.PngImagePlugin", "PIL.ImageFile", "yaml", "scipy.io.matlab"]
with atheris.instrument_imports(include=WATCHED):
    from forks import Fork
    from fuzz.targets import Target, failure, targets
MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None
SHARES = {"video": 1, "options": 1, "config": 2, "checkpoint": 3}
"""Percent of the inputs for the slow readers; the others have equal shares of the rest."""
NAMES = ("mask", "points", "joints", "cifar_python", "cifar_binary", "safetensors", "export", "statistics", "chunk",
         "shard_index", *SHARES)  # fmt: skip


def fuzz(target: Target, name: str, runs: int, keep: Path, told: Path, place: Path) -> None:
    """One reader, in this process, which atheris ends."""
    corpus, path = place / "corpus", place / "sandbox" / f"input{target.ending}"
    corpus.mkdir()
    path.parent.mkdir()
    for number, seed in enumerate(target.seeds):
        (corpus / f"seed-{number}").write_bytes(seed)
    os.chdir(path.parent)
    counts = {"inputs": 0, "inputs_that_left_files": 0}

    def one(content: bytes) -> None:
        path.write_bytes(content)
        wrong = failure(target, path)
        counts["inputs"] += 1
        counts["inputs_that_left_files"] += os.listdir(path.parent) != [path.name]
        if wrong or counts["inputs"] % 100 == 0 or counts["inputs"] >= runs:
            told.write_text(json.dumps({**counts, "failure": wrong}))
        if wrong:
            raise AssertionError(wrong)

    longest = 4 * max(map(len, target.seeds))
    options = [
        f"-runs={runs}",
        f"-max_len={longest}",
        f"-artifact_prefix={keep}/{name}-",
        "-timeout=60",
        "-verbosity=0",
    ]
    atheris.Setup([sys.argv[0], *options, str(corpus)], one)
    atheris.Fuzz()


def main() -> None:
    """Runs."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--count", type=int, default=100_000, help="inputs in all")
    options.add_argument("--only", nargs="*", choices=NAMES, help="readers")
    options.add_argument("--keep", type=Path, default=Path("fuzz_failures"), help="folder of the inputs that fail")
    options.add_argument("--out", type=Path, help="a JSON file of what was found")
    given = options.parse_args()
    keep = given.keep.absolute()
    kept = keep.is_dir()
    keep.mkdir(parents=True, exist_ok=True)
    rest = (100 - sum(SHARES.values())) / (len(NAMES) - len(SHARES))
    results: dict[str, Any] = {}
    made = tempfile.TemporaryDirectory()
    readers = targets(Path(made.name))
    assert readers.keys() == set(NAMES)
    for name in given.only or NAMES:
        runs, started = round(given.count * SHARES.get(name, rest) / 100), time.monotonic()
        told = Path(made.name, f"{name}.json")
        with tempfile.TemporaryDirectory(dir=MEMORY) as place:
            fork = Fork(fuzz, readers[name], name, runs, keep, told, Path(place))
            status, text = fork.wait(24 * 3600)
            fork.close()
        found = json.loads(told.read_text()) if told.exists() else {"inputs": 0, "failure": None}
        if status and not found["failure"]:
            found["failure"] = f"the process ended with {status}: {text[-500:]}"
        results[name] = {**found, "seconds": round(time.monotonic() - started, 1)}
        print(name, results[name], flush=True)
        if given.out:
            given.out.write_text(json.dumps({"targets": results}, indent=2) + "\n")
    if not kept and not any(keep.iterdir()):
        keep.rmdir()
    wrong = [name for name, found in results.items() if found["failure"] or found.get("inputs_that_left_files")]
    sys.exit(f"These fail, see {keep}: {', '.join(wrong)}" if wrong else 0)


if __name__ == "__main__":
    main()
