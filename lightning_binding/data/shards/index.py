"""`index.json`: what a folder of chunks holds, as litdata writes it, with a checksum for each chunk."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from lightning_binding.data.shards.chunk import MOST_BYTES
from lightning_binding.errors import InputError
from lightning_binding.holding import no_link
from lightning_binding.limits import parse_json, read_text

T = TypeVar("T")

NAME = "index.json"
LEAVES = ["bytes", "int", "str"]
_LEAF: dict[str, Any] = {"type": None, "context": None, "children_spec": []}
_SPEC = {"type": "builtins.dict", "context": json.dumps(["data", "label", "name"]), "children_spec": [_LEAF] * 3}
SPEC = json.dumps([1, _SPEC])
"""The structure of an item in torch's words: a dict of data, label and name."""
FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}\.bin", re.ASCII)
"""Names of chunks: no folder, no way out of one."""


class ChunkInfo(NamedTuple):
    """A chunk.

    Attributes:
        file: Its name in the folder.
        examples: Number of them.
        bytes: Of the file.
        sha256: Of the file, in hexadecimal digits; None in what litdata wrote.
    """

    file: str
    examples: int
    bytes: int
    sha256: str | None


class ShardIndex(NamedTuple):
    """The chunks of one side of a split, in order, and what they hold.

    Attributes:
        chunks: At least one.
        kind: `image`, `video`, or nothing in what litdata wrote.
        class_names: The name of each label; empty where there are none.
        source: A digest of the names and sizes of the files that were converted, and of the options.
    """

    chunks: list[ChunkInfo]
    kind: str = ""
    class_names: tuple[str, ...] = ()
    source: str = ""

    @property
    def digest(self) -> str:
        """A digest of all of it, which changes with any byte of any chunk."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    def to_json(self) -> str:
        """The text of the file; litdata passes over the keys that are not its own."""
        config = {
            "chunk_bytes": max(chunk.bytes for chunk in self.chunks),
            "chunk_size": None,
            "compression": None,
            "data_format": LEAVES,
            "data_spec": SPEC,
            "encryption": None,
            "item_loader": "PyTreeLoader",
        }
        chunks = [
            {
                "chunk_bytes": chunk.bytes,
                "chunk_size": chunk.examples,
                "dim": None,
                "filename": chunk.file,
                "sha256": chunk.sha256,
            }
            for chunk in self.chunks
        ]
        own = {"kind": self.kind, "class_names": list(self.class_names), "source": self.source}
        return json.dumps({"chunks": chunks, "config": config, "lightning_binding": own}, indent=1) + "\n"


def read_index(path: Path) -> ShardIndex:
    """Reads an index in a folder.

    Raises:
        InputError: As `parse_index`; or it cannot be read, or is a link, which may point anywhere.
    """
    if path.is_symlink():
        raise InputError(f"{path} is a symbolic link, and links among shards are refused: put the file in its place.")
    return parse_index(read_text(path, no_link), path)


def parse_index(text: str, what: str | Path) -> ShardIndex:
    """Reads the text of an index.

    Args:
        text: JSON.
        what: Names it in messages.

    Raises:
        InputError: It is no index, of a kind that is not read here, or names a file outside of its folder.
    """
    found = parse_json(text, what)
    try:
        config, chunks, own = found["config"], found["chunks"], found.get("lightning_binding", {})
        given = [config[key] for key in ("compression", "encryption", "item_loader", "data_format")]
        if given != [None, None, "PyTreeLoader", LEAVES]:
            raise InputError(
                f"{what} says compression, encryption, loader and leaves are {given}; expected are None, None, "
                f"PyTreeLoader and {LEAVES}, as `lightning-binding shard` writes them."
            )
        infos = [_chunk(chunk, what) for chunk in chunks]
        listed: list[Any] = _typed(own.get("class_names", []), list)
        names = tuple(_typed(name, str) for name in listed)
        index = ShardIndex(infos, _typed(own.get("kind", ""), str), names, _typed(own.get("source", ""), str))
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{what} is no index of shards: {type(error).__name__} {error}.") from error
    if not infos:
        raise InputError(f"{what} lists no chunks.")
    if len({info.file for info in infos}) < len(infos):
        raise InputError(f"{what} lists a file twice.")
    return index


def _chunk(found: dict[str, Any], what: str | Path) -> ChunkInfo:
    file, digest = _typed(found["filename"], str), found.get("sha256")
    if not FILE.fullmatch(file):
        raise InputError(f"{what} names the chunk {file!r}; expected is a plain name such as chunk-00000.bin.")
    if digest is not None and not re.fullmatch("[0-9a-f]{64}", _typed(digest, str)):
        raise InputError(f"{what} gives {file} the checksum {digest!r}; expected are 64 hexadecimal digits.")
    examples, size = _typed(found["chunk_size"], int), _typed(found["chunk_bytes"], int)
    if not (examples >= 1 and 4 * (examples + 2) <= size <= MOST_BYTES):
        raise InputError(f"{what} gives {file} {examples} examples in {size} bytes, which cannot be.")
    return ChunkInfo(file, examples, size, digest)


def _typed(value: Any, kind: Callable[..., T]) -> T:
    if type(value) is not kind:
        raise TypeError(f"{value!r:.40} is not of type {kind}")
    return value  # type: ignore[no-any-return]
