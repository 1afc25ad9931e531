"""The scripts for several nodes, run with two of one process each: the same bits as two processes of one node."""

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

ROOT = Path(__file__).parents[2]
TINY = str(Path(__file__).with_name("tiny.yaml"))
ON_CPUS = ["--trainer.accelerator=cpu", "--trainer.precision=32-true", "--model.compile=false"]
pytestmark = pytest.mark.long


def start(command: list[str], **variables: object) -> "subprocess.Popen[str]":
    """A command in the root of the checkout, with the programs of this interpreter and the `srun` of this folder."""
    path = os.pathsep.join([str(Path(__file__).parent), str(Path(sys.executable).parent), os.environ["PATH"]])
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
    try:
        for process in running:
            text, _ = process.communicate(timeout=300)
            assert process.returncode == 0, text
    finally:
        for process in running:
            process.kill()
            process.wait()


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def end(folder: Path) -> dict[str, Any]:
    """What the run's checkpoint holds that training goes on from."""
    (path,) = folder.rglob("end.ckpt")
    checkpoint = torch.load(path, weights_only=True)
    assert checkpoint["global_step"] == 4
    names = ("state_dict", "current_model_state", "optimizer_states", "random_states", "generator")
    return {name: checkpoint[name] for name in names}


def options(folder: Path) -> list[str]:
    return [*ON_CPUS, f"--trainer.default_root_dir={folder}"]


@pytest.fixture(scope="module")
def one_node(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Two processes of one node, which Lightning starts."""
    folder = tmp_path_factory.mktemp("one_node")
    two = ["--trainer.devices=2", "--trainer.strategy=ddp"]
    finish(start(["lightning-binding", "fit", "--config", TINY, *two, *options(folder)]))
    return end(folder)


def test_torchrun(one_node: dict[str, Any], tmp_path: Path) -> None:
    port, command = free_port(), ["scripts/multinode_torchrun.sh", TINY, *options(tmp_path)]
    place = {"NNODES": 2, "GPUS": 1, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    finish(*(start(command, NODE_RANK=node, **place) for node in range(2)))
    torch.testing.assert_close(end(tmp_path), one_node, rtol=0, atol=0)


def test_slurm(one_node: dict[str, Any], tmp_path: Path) -> None:
    job = {"SLURM_JOB_ID": 7, "SLURM_JOB_NAME": "fit", "SLURM_NODELIST": "127.0.0.1", "MASTER_PORT": free_port()}
    shape = {"SLURM_NNODES": 2, "SLURM_NTASKS": 2, "SLURM_NTASKS_PER_NODE": 1}
    finish(start(["bash", "scripts/multinode.sbatch", TINY, *options(tmp_path)], **job, **shape))
    torch.testing.assert_close(end(tmp_path), one_node, rtol=0, atol=0)
