"""Commands and scripts of the checkout, started together and waited for."""

import os
import socket
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
SCALE = Path(__file__).with_name("scale")
TINY = str(SCALE / "tiny.yaml")
ON_CPUS = ["--trainer.accelerator=cpu", "--trainer.precision=32-true", "--model.compile=false"]


def start(command: list[str], **variables: object) -> "subprocess.Popen[str]":
    """A command in the root of the checkout, with the programs of this interpreter and the `srun` of `scale`."""
    path = os.pathsep.join([str(SCALE), str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = os.environ | {"PATH": path, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment | {name: str(value) for name, value in variables.items()},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(*running: "subprocess.Popen[str]") -> None:
    """Waits for all, which are to end well."""
    try:
        for process in running:
            text, _ = process.communicate(timeout=300)
            assert process.returncode == 0, text
    finally:
        for process in running:
            process.kill()
            process.wait()


def free_port() -> int:
    """One of loopback that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
