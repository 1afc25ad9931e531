"""Writing shards: in parallel, and so that a conversion that was ended goes on where it was.

While it goes on, the folder `.progress` holds the digest of the plan, and a record for each chunk that is finished. The
indices are written when all chunks are, and then `.progress` is removed.
"""

from __future__ import annotations

import errno
import hashlib
import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tqdm import tqdm

from lightning_binding.data.broken import BrokenFiles
from lightning_binding.data.shards.chunk import MOST_BYTES, Example, encode_example, pack
from lightning_binding.data.shards.files import write_file
from lightning_binding.data.shards.index import NAME, ChunkInfo, ShardIndex, read_index
from lightning_binding.data.shards.plan import Plan, Task
from lightning_binding.data.shards.pool import in_processes
from lightning_binding.data.shards.sides import KINDS
from lightning_binding.errors import InputError
from lightning_binding.holding import held
from lightning_binding.limits import read_text

PROGRESS = ".progress"
PASSING = {errno.EIO, errno.ESTALE, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ETIMEDOUT}
"""What a system answers when it cannot read now, which says nothing of the file: it is not left out for that."""
BROKEN = "broken_files.txt"
AGAIN = "or end it and give the command again, which goes on from the chunks that are finished."


def convert(
    plan: Plan, out: Path, kind: str, class_names: list[str], broken: dict[str, BrokenFiles], workers: int
) -> dict[str, ShardIndex]:
    """Writes what is missing of a plan.

    Args:
        plan: What to write.
        out: The folder; `out/train` and `out/val` become datasets of litdata.
        kind: `image` or `video`.
        class_names: The name of each label.
        broken: Where the files of each side that cannot be decoded are counted; they are left out.
        workers: Processes.

    Returns:
        The index of each side.

    Raises:
        InputError: The folder holds other shards, another command writes into it, a disk is full, too many files are
            broken, or a worker died.
    """
    with held(out, "--out", AGAIN):
        return _convert(plan, out, kind, class_names, broken, workers)


def _convert(
    plan: Plan, out: Path, kind: str, class_names: list[str], broken: dict[str, BrokenFiles], workers: int
) -> dict[str, ShardIndex]:
    sides = list(dict.fromkeys(task.side for task in plan.tasks))
    progress = out / PROGRESS
    if all((out / side / NAME).is_file() for side in sides):
        done = {side: read_index(out / side / NAME) for side in sides}
        if any(index.source != plan.digest for index in done.values()):
            raise InputError(_other(out))
        shutil.rmtree(progress, ignore_errors=True)
        return done
    _begin(out, sides, plan.digest)
    todo = [task for task in plan.tasks if _record(out, task) is None]
    jobs = [(task, out, kind, broken[task.side]) for task in todo]
    finished = len(plan.tasks) - len(todo)
    for _ in tqdm(in_processes(_write, jobs, workers), "chunks", len(plan.tasks), initial=finished, unit="chunk"):
        pass
    records = [(task.side, record) for task in plan.tasks if (record := _record(out, task))]
    lines = sorted(f"{path}\t{reason}\n" for _, record in records for path, reason in record["broken"])
    if lines:
        write_file(out / BROKEN, "".join(lines).encode("utf-8", "surrogateescape"))
    result = {}
    for side in sides:
        chunks = [ChunkInfo(*record["chunk"]) for at, record in records if at == side and record["chunk"]]
        if not chunks:
            raise InputError(f"No file of the side {side} can be decoded; see {out / BROKEN}. {_advice(kind, side)}")
        result[side] = ShardIndex(chunks, kind, tuple(class_names), plan.digest)
        write_file(out / side / NAME, result[side].to_json().encode())
    shutil.rmtree(progress)
    return result


def _begin(out: Path, sides: Iterable[str], digest: str) -> None:
    """Makes the folders, or finds them as a conversion by the same plan left them."""
    plan = out / PROGRESS / "plan"
    if plan.is_file():
        if read_text(plan) != digest:
            raise InputError(_other(out))
    elif any(out.glob("*/*.bin")) or any(out.glob(f"*/{NAME}")):
        raise InputError(_other(out))
    try:
        for folder in (out / PROGRESS, *(out / side for side in sides)):
            folder.mkdir(parents=True, exist_ok=True)
            for unfinished in folder.glob(".*.part"):
                unfinished.unlink(missing_ok=True)
    except OSError as error:
        raise InputError(f"--out {out}: the folder cannot be made ({error}).") from error
    write_file(plan, digest.encode())


def _other(out: Path) -> str:
    return (
        f"{out} holds shards of another source, or by other options; names, sizes and options must be those of the "
        "command that began. Give another --out, or remove the folder."
    )


def _advice(kind: str, side: str) -> str:
    """What to do where nothing of a side is left."""
    others = ""
    if side == "val":
        images = "hold others out, with --val_root (a folder of them) or a larger --held_out_share"
        others = ", or put others into the folder val beside train" if kind == "video" else f", or {images}"
    return f"Mend them{others}; then give another --out, since this one belongs to what was given before."


def _path(out: Path, task: Task) -> Path:
    return out / PROGRESS / f"{task.side}-{task.number:05d}.json"


def _record(out: Path, task: Task) -> dict[str, Any] | None:
    """What was written down of a chunk, if it is finished and there."""
    path = _path(out, task)
    if not path.is_file():
        return None
    record: dict[str, Any] = json.loads(path.read_bytes())
    chunk = out / task.side / task.file
    there = record["chunk"] is None or (chunk.is_file() and chunk.stat().st_size == ChunkInfo(*record["chunk"]).bytes)
    return record if there else None


def _write(job: tuple[Task, Path, str, BrokenFiles]) -> None:
    """Writes a chunk, and its record when it is there."""
    task, out, kind, broken = job
    items, left_out = [], []
    for path, name, label in zip(task.paths, task.names, task.labels, strict=True):
        try:
            KINDS[kind].check(path)
            item = encode_example(Example(Path(path).read_bytes(), label, name))
            if len(item) > MOST_BYTES - 64:
                raise InputError("it has more than 4 GiB")
            items.append(item)
        except MemoryError:
            raise
        except Exception as error:  # whatever a decoder raises for a file that it cannot read
            if isinstance(error, OSError) and error.errno in PASSING:
                raise InputError(
                    f"{path} could not be read just now ({error}); give the same command again, and it goes on from "
                    "the chunks that are finished."
                ) from error
            left_out.append((path, " ".join(f"{type(error).__name__}: {error}".split())))
            broken.add(path, error)
    chunk = None
    if items:
        content = pack(items)
        write_file(out / task.side / task.file, content)
        chunk = ChunkInfo(task.file, len(items), len(content), hashlib.sha256(content).hexdigest())
    record = json.dumps({"chunk": chunk, "broken": left_out})
    write_file(_path(out, task), record.encode())
