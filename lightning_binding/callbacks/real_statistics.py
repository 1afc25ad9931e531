"""Statistics of the real pictures on disk, so that the next run need not compute them."""

import hashlib
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor
from torchmetrics.image.kid import KernelInceptionDistance

from lightning_binding.metrics.streaming import StreamingFrechet


class RealStatistics:
    """The real side of a comparison: sums for the Fréchet distance, features for KID, labels to draw from.

    Every rank writes the features that it has, and reads its share of all of them, whatever the number of ranks was.
    The file of sums is written last: where it is, the others are.

    Args:
        folder: Where statistics are kept.
        key: Names the pictures, and the extractor with its weights.
        rank: This process's number.
        world: Number of processes.
    """

    def __init__(self, folder: Path, key: str, rank: int = 0, world: int = 1) -> None:
        digest = hashlib.sha256(key.encode()).hexdigest()[:8]
        self.stem = folder / f"{key.replace('/', '_')[:100]}-{digest}"
        self.rank, self.world = rank, world

    @property
    def sums(self) -> Path:
        """The file of sums."""
        return self._file("sums")

    def complete(self, kid: bool) -> bool:
        """Whether all that is wanted is there, on every machine.

        Args:
            kid: Whether features are wanted too.
        """
        found = self.sums.exists() and (not kid or bool(self._features()))
        return all(_gathered(found, self.world))

    def load(self, frechet: StreamingFrechet, kid: KernelInceptionDistance | None) -> Tensor | None:
        """Gives the metrics their real side, this rank's share of it, and returns the labels (N,), if there are any."""
        if self.rank == 0:
            frechet.load_real(self.sums)
        if kid is not None:
            kid.real_features = [self._share().to(kid.device)]
        return load_file(self._file("labels")).get("label")

    def save(self, frechet: StreamingFrechet, kid: KernelInceptionDistance | None, labels: Tensor | None) -> None:
        """Writes the real side of the metrics, and the labels of all pictures."""
        self.stem.parent.mkdir(parents=True, exist_ok=True)
        if kid is not None:
            save_file(
                {"features": torch.cat(kid.real_features).cpu()}, self._file(f"features-{self.rank}-of-{self.world}")
            )
        parts = {} if labels is None else {"label": labels}
        shards = torch.tensor(self.world if kid is not None else 0)
        if self.rank == 0:
            save_file({"shards": shards, **parts}, self._file("labels"))
        _gathered(None, self.world)  # what other ranks write is there before the sums are
        if self.world > 1:
            frechet.sync()
        if self.rank == 0:
            frechet.save_real(self.sums)
        if self.world > 1:
            frechet.unsync()

    def _file(self, part: str) -> Path:
        return self.stem.with_name(f"{self.stem.name}.{part}.safetensors")

    def _features(self) -> list[Path]:
        """The files of features, all of them or none."""
        world = int(load_file(self._file("labels"))["shards"])
        files = [self._file(f"features-{rank}-of-{world}") for rank in range(world)]
        return files if all(file.exists() for file in files) else []

    def _share(self) -> Tensor:
        """This rank's rows of all features, in their order, cut as the pictures are."""
        with ExitStack() as files:
            opened = [files.enter_context(safe_open(path, framework="pt")) for path in self._features()]
            parts = [file.get_slice("features") for file in opened]
            counts = [part.get_shape()[0] for part in parts]
            mine = torch.arange(sum(counts)).tensor_split(self.world)[self.rank]
            start, stop, rows = int(mine[0]), int(mine[-1]) + 1, []
            for part, count in zip(parts, counts, strict=True):
                rows.append(part[min(max(start, 0), count) : min(max(stop, 0), count)])
                start, stop = start - count, stop - count
        return torch.cat(rows)


def _gathered(value: Any, world: int) -> list[Any]:
    """The value of every rank."""
    if world == 1:
        return [value]
    values: list[Any] = [None] * world
    torch.distributed.all_gather_object(values, value)
    return values
