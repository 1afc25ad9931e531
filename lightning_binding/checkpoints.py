"""Checkpoints that a crash cannot break: written beside and renamed, with a checksum that reading verifies.

A checkpoint of torch is a zip file, and a zip file ends with a comment. The comment holds the SHA-256 of all bytes
before it, so that one file is all there is to keep, and every reader of torch checkpoints reads it as before.
"""

from __future__ import annotations

import hashlib
import os
import struct
import time
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO

from lightning_binding.errors import InputError

UNFINISHED = ".part"
"""Ending of a checkpoint that is being written; what a crash leaves is never taken for a checkpoint."""

MARK = b"sha256:"
_COMMENT = len(MARK) + 64
# The end record of a zip file, and its size; its last two bytes are the length of the comment behind it.
_END = b"PK\5\6"
_RECORD = 22
_BLOCK = 1 << 20
_being_written: set[Path] = set()


class _Hashed:
    """A file that is written from front to back, whose last two bytes (the comment's length) are held back."""

    def __init__(self, file: Any) -> None:
        self.file, self.hash, self.tail = file, hashlib.sha256(), b""

    def write(self, data: Any) -> int:
        """Write all but the last two bytes so far."""
        block = self.tail + bytes(data)
        body, self.tail = block[:-2], block[-2:]
        self.hash.update(body)
        self.file.write(body)
        return len(memoryview(data).cast("B"))

    def flush(self) -> None:
        """Nothing to do before the end."""

    def finish(self) -> None:
        """Write the comment's length and the comment."""
        self.file.write(struct.pack("<H", _COMMENT) + MARK + self.hash.hexdigest().encode())


def write_checkpoint(checkpoint: Any, path: str | Path) -> None:
    """Write a checkpoint beside its place, flush it to the disk, and rename it: the path holds the old file or the new.

    Args:
        checkpoint: What `torch.save` takes.
        path: The file.

    Raises:
        InputError: If it cannot be written, as on a full disk; what was there stays.
    """
    path = Path(path)
    beside = path.with_name(path.name + UNFINISHED)
    _being_written.add(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(beside, "wb") as file:
            hashed = _Hashed(file)
            torch.save(checkpoint, hashed)  # type: ignore[arg-type]  # it needs `write` and `flush` alone
            hashed.finish()
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise InputError(_unwritten(path, error.strerror or str(error))) from error
    except RuntimeError as error:  # torch's own, when the file refuses a write
        beside.unlink(missing_ok=True)
        if not isinstance(error.__context__, OSError) and "write" not in str(error):
            raise
        raise InputError(_unwritten(path, "is the disk full?")) from error
    finally:
        _being_written.discard(path)
    _sync_folder(path.parent)


def await_written(longest: float) -> None:
    """Waits for the checkpoint that another thread of this process is at, some seconds at most.

    Args:
        longest: Seconds.
    """
    deadline = time.monotonic() + longest
    while _being_written and time.monotonic() < deadline:
        time.sleep(0.1)


def _unwritten(path: Path, reason: str) -> str:
    return (
        f"the checkpoint {path} cannot be written ({reason}), so training stops; the checkpoints before it are intact. "
        "Make room or give another folder (--trainer.default_root_dir), and go on with --resume auto."
    )


def _sync_folder(folder: Path) -> None:
    """The rename itself reaches the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError:  # not every file system can
        pass
    finally:
        os.close(descriptor)


def verify(path: str | Path) -> bool:
    """Compare a checkpoint with the checksum that it holds.

    Args:
        path: The file.

    Returns:
        Whether it has a checksum; a file that another program wrote has none, nor has what is no zip file at all.

    Raises:
        InputError: If the file is not what was written.
    """
    path = Path(path)
    size = path.stat().st_size
    with open(path, "rb") as file:
        file.seek(max(0, size - _RECORD - _COMMENT))
        end = file.read()
        record = end.rfind(_END)
        length, comment = end[record + _RECORD - 2 : record + _RECORD], end[record + _RECORD :]
        if record < 0 or (length != struct.pack("<H", _COMMENT) and not comment.startswith(MARK)):
            return False
        file.seek(0)
        digest, left = hashlib.sha256(), size - _COMMENT - 2
        while left > 0 and (block := file.read(min(_BLOCK, left))):
            digest.update(block)
            left -= len(block)
    if length != struct.pack("<H", _COMMENT) or MARK + digest.hexdigest().encode() != comment:
        raise InputError(f"{path} is damaged: its content does not have the checksum that was written with it.")
    return True


class VerifiedCheckpointIO(TorchCheckpointIO):
    """Lightning's reading and writing of checkpoints, made safe against crashes, full disks and damage.

    The command line uses it for every run on one device or with DDP, `FullySharded` always; in Python:
    `Trainer(plugins=VerifiedCheckpointIO())`.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None) -> None:
        """Write a checkpoint; a path with a protocol (`s3://…`) is written as Lightning writes it."""
        if "://" in str(path):
            super().save_checkpoint(checkpoint, path, storage_options)
        else:
            write_checkpoint(checkpoint, path)

    def load_checkpoint(
        self, path: str | Path, map_location: Any = "cpu", weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Verify and read a checkpoint.

        Raises:
            InputError: If it is damaged.
        """
        if "://" not in str(path) and Path(path).is_file():
            verify(path)
        return super().load_checkpoint(path, map_location, weights_only)
