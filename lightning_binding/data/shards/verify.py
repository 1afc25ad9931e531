"""Comparing chunks with the checksums in the index."""

from __future__ import annotations

from pathlib import Path

from tqdm import tqdm

from lightning_binding.data.shards.files import file_digest
from lightning_binding.data.shards.index import NAME, ChunkInfo, read_index
from lightning_binding.data.shards.pool import in_processes
from lightning_binding.errors import InputError


def verify(out: Path, workers: int) -> int:
    """Reads all chunks of all sides.

    Args:
        out: The folder that holds `train`, and perhaps `val`.
        workers: Processes.

    Returns:
        Number of chunks.

    Raises:
        InputError: There are none, or some are not what was written; they are named.
    """
    indices = sorted(out.glob(f"*/{NAME}"))
    if not indices:
        raise InputError(f"There are no shards in {out}; expected is a folder that `lightning-binding shard` wrote.")
    jobs = [(path.parent, info) for path in indices for info in read_index(path).chunks]
    checked = tqdm(in_processes(_wrong, jobs, workers), "verified", len(jobs), unit="chunk")
    wrong = [found for found in checked if found]
    if wrong:
        raise InputError(
            f"{len(wrong)} of {len(jobs)} chunks in {out} are missing or damaged ({', '.join(wrong[:3])}, …): copy "
            "them again, or remove the folder and convert again."
        )
    return len(jobs)


def _wrong(job: tuple[Path, ChunkInfo]) -> str:
    """The path of a chunk that is not what was written; nothing for one that is."""
    path = job[0] / job[1].file
    try:
        right = path.stat().st_size == job[1].bytes and job[1].sha256 in (None, file_digest(path))
    except OSError:
        right = False
    return "" if right else str(path)
