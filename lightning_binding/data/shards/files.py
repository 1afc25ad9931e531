"""Writing whole files, and their checksums."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from lightning_binding.errors import InputError


def write_file(path: Path, content: bytes) -> None:
    """Writes a file beside its place, flushes it to the disk, and renames it.

    Raises:
        InputError: It cannot be written, as on a full disk.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with open(beside, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise InputError(f"{path} cannot be written ({error.strerror}); make room or give another folder.") from error


def file_digest(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
