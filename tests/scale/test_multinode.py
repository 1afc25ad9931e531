"""The scripts for several nodes, run with two of one process each: the same bits as two processes of one node."""

from pathlib import Path
from typing import Any

import pytest
import torch
from launching import ON_CPUS, TINY, finish, free_port, start

pytestmark = pytest.mark.long


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
