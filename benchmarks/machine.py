"""What the benchmarks share: the machine they ran on, what they were called with, and the memory of a process."""

import os
import platform
import shlex
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from suite.setting import commit, processor


def machine(threads: int) -> dict[str, Any]:
    """What numbers depend on beside the code, and which code it was."""
    return {
        "commit": commit(),
        "processor": processor(),
        "cores": os.cpu_count(),
        "threads": threads,
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def origin() -> dict[str, Any]:
    """How and when numbers were made: the command, with the names alone of files elsewhere, and the date."""
    arguments = [Path(each).name if os.path.isabs(each) else each for each in sys.argv[1:]]
    command = shlex.join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *arguments])
    return {"command": command, "date": datetime.now(UTC).date().isoformat()}


def resident() -> float:
    """Memory that this process has now, in MiB (Linux)."""
    return _status("VmRSS")


def peak() -> float:
    """The most memory that this process has had, in MiB (Linux)."""
    return _status("VmHWM")


def _status(field: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1024
