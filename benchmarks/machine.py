"""What the benchmarks share: the machine they ran on, and the memory of a process."""

import os
import platform
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


def resident() -> float:
    """Memory that this process has now, in MiB (Linux)."""
    return _status("VmRSS")


def peak() -> float:
    """The most memory that this process has had, in MiB (Linux)."""
    return _status("VmHWM")


def _status(field: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1024
