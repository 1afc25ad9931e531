"""A process that measures one side of one case: `python -m suite.worker CASE SIDE`.

It says what a call does, then takes the number of calls of a turn from each line it reads, and answers with the time
of each: in seconds of the processor, which other work on the machine lengthens less than the clock's.
"""

import contextlib
import importlib
import json
import os
import sys
import time
import warnings
from collections.abc import Callable
from functools import partial

from suite.catalogue import CASES, COPY, MATRIX, MATRIX_BF16
from suite.side import Side

NAMES = {MATRIX: "matrix", MATRIX_BF16: "matrix_bf16", COPY: "copy"}


def main() -> None:
    """Builds the side, and answers until nothing is asked any more."""
    case, side = sys.argv[1:]
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what libraries print is not an answer
    warnings.filterwarnings("ignore")
    import lightning_binding  # noqa: F401  # isort: skip  (before anything imports torchvision)
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(0)
    make = maker(case, side)
    with contextlib.suppress(OSError), open("/proc/self/clear_refs", "w") as file:
        file.write("5")  # the peak of memory is counted from here
    before = memory("VmRSS")
    work = make()
    for _ in range(work.warm):
        work.call()
    answers.write(json.dumps({"units": work.units, "price": work.price}) + "\n")
    for line in sys.stdin:
        times = []
        for _ in range(int(line)):
            start = time.process_time()
            taken = work.call()
            times.append(time.process_time() - start if taken is None else taken)
        answers.write(json.dumps({"seconds": times, "mib": memory("VmHWM") - before}) + "\n")


def maker(case: str, side: str) -> Callable[[], Side]:
    """What makes a side of a case, a limit of the machine, or a point of a scaling plot (`growth:PLOT:LINE`)."""
    if case.startswith("growth:"):
        _, plot, line = case.split(":")
        return partial(importlib.import_module("suite.cases.growth").KINDS[plot], line, int(side))
    module = importlib.import_module(f"suite.cases.{'limits' if side in NAMES else CASES[case].module}")
    found: Callable[[], Side] = module.SIDES[NAMES[side]] if side in NAMES else module.SIDES[case][side]
    return found


def memory(field: str) -> float:
    """Memory of this process, in MiB; 0 where the system does not tell."""
    try:
        with open("/proc/self/status") as file:
            return next(int(line.split()[1]) for line in file if line.startswith(field)) / 1024
    except (OSError, StopIteration):
        return 0.0


if __name__ == "__main__":
    main()
