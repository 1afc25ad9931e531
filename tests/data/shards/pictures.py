"""Small pictures to convert, and their conversion into shards of a few pictures each."""

from pathlib import Path

import numpy as np
from PIL import Image

from lightning_binding.data.broken import BrokenFiles
from lightning_binding.data.shards.convert import BROKEN, convert
from lightning_binding.data.shards.index import ShardIndex
from lightning_binding.data.shards.plan import make_plan
from lightning_binding.data.shards.sides import KINDS, Splitting


def write_pictures(root: Path, per_class: int = 12, size: int = 12) -> Path:
    """Three classes of noise under `train` and `val`, JPEGs and PNGs in turn."""
    rng = np.random.default_rng(0)
    for split, count in (("train", per_class), ("val", 3)):
        for name in ("ant", "bee", "cat"):
            (root / split / name).mkdir(parents=True)
            for index in range(count):
                pixels = rng.integers(0, 256, (size, size + 4, 3), np.uint8)
                Image.fromarray(pixels).save(root / split / name / f"{index}.{('jpg', 'png')[index % 2]}")
    return root


def write_shards(
    source: Path,
    out: Path,
    chunk_bytes: int = 3000,
    seed: int | None = 0,
    kind: str = "image",
    workers: int = 0,
    max_broken: float = 0.5,
) -> dict[str, ShardIndex]:
    """As the command does, but for the size of a chunk."""
    found = KINDS[kind].find(str(source), Splitting(None, 0.2, False))
    broken = {
        side: BrokenFiles(out / BROKEN, files.root, files.total, max_broken, kind)
        for side, files in found.sides.items()
    }
    return convert(make_plan(found, kind, chunk_bytes, seed), out, kind, found.class_names, broken, workers)


def content(folder: Path) -> dict[str, bytes]:
    """All files under a folder, hidden ones too."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
