"""How shards are read: the options that images and videos share."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.utilities import rank_zero_warn
from torch.utils.data import Dataset

from lightning_binding.data.sampling import replicas
from lightning_binding.data.shards.cache import Cached
from lightning_binding.data.shards.index import ShardIndex
from lightning_binding.data.shards.items import ShardItems
from lightning_binding.data.shards.sampler import ShardSampler
from lightning_binding.data.shards.store import Folder, Store
from lightning_binding.data.shards.transport import Disk, Http
from lightning_binding.errors import InputError


@dataclass(frozen=True)
class Reading:
    """How shards are read.

    Args:
        block: Chunks whose examples are shuffled together; more of them mix better and need more room.
        streams: Runs of chunks that are read at the same time, over all ranks; None: one for each rank. With the same
            number the order is the same on any number of ranks; make it a multiple of them.
        cache: Folder on a local disk into which chunks are fetched; the ranks and runs of a machine may share it. None
            reads a folder where it is; an address needs a cache.
        cache_gb: GiB that the cache may hold, of all that share it. Each rank needs `2 * block` chunks of each of its
            streams, and `block` more for each block, or part of one, that is drawn before it is read; what validation
            and other runs need is not counted.
        timeout: Seconds without a byte, or for all headers together, after which a server counts as stalled.
        retries: Attempts after the first, with longer and longer pauses, before a chunk counts as missing.
    """

    block: int = 4
    streams: int | None = None
    cache: str | None = None
    cache_gb: float = 50.0
    timeout: float = 30.0
    retries: int = 5

    def store(self, root: str) -> Store:
        """The chunks of one side of a split.

        Raises:
            InputError: An address without a cache, or options that cannot be.
        """
        remote = Http(root, self.timeout, self.retries) if "://" in root else Disk(root, self.retries)
        if self.cache is not None:
            return Cached(remote, self.cache, int(self.cache_gb * 2**30))
        if isinstance(remote, Disk):
            return Folder(root)
        raise InputError(f"{root} is read through a folder on a local disk: give --data.reading.cache.")

    def sampler(
        self,
        data: Dataset[Any],
        items: ShardItems,
        seed: int,
        repeats: int = 1,
        trainer: Trainer | None = None,
        read_ahead: int = 0,
    ) -> ShardSampler:
        """The draws of this rank.

        Args:
            data: What is sampled: `repeats` examples of each item.
            items: What the data are read from.
            seed: Of the order.
            repeats: Examples of each item.
            trainer: Whose ranks on this machine share the cache.
            read_ahead: Examples of a rank that are drawn before they are read; for them, a cache that is too small is
                warned of, since chunks may come again and again.

        Raises:
            InputError: Fewer examples than ranks, or a cache that is too small for two blocks of each stream.
        """
        sizes = [size * repeats for size in items.sizes]
        sampler = ShardSampler(data, sizes, *replicas(), seed, self.block, self.streams, items.expect, items.identity())
        if self.cache is not None:
            sampler.behind = self._behind(sampler, read_ahead)
            self._check_room(sampler, items, 1 if trainer is None else trainer.num_devices, read_ahead)
        return sampler

    def _behind(self, sampler: ShardSampler, read_ahead: int) -> int:
        """Blocks of a stream that are drawn and not yet read, where a rank reads that many examples ahead."""
        of_stream = read_ahead * sampler.num_replicas / sampler.streams  # the ranks go through them together
        return math.ceil(of_stream / (self.block * sum(sampler.sizes) / len(sampler.sizes)))

    def _check_room(self, sampler: ShardSampler, items: ShardItems, ranks: int, read_ahead: int) -> None:
        """Compares the cache with what the ranks of this machine need at a time, of each stream some blocks."""
        own = sampler.streams // math.gcd(sampler.streams, sampler.num_replicas)  # the streams that a rank reads
        chunk = max(info.bytes for info in items.index.chunks)

        def room(blocks: int) -> int:
            return min(blocks * self.block * own * ranks, len(sampler.sizes)) * chunk

        given = f"reading.cache_gb is {self.cache_gb:g}"
        if room(2) > self.cache_gb * 2**30:
            raise InputError(
                f"{given}, and the run needs {_gib(room(2))} on this machine: two blocks of {self.block} chunks for "
                f"each stream, {own} in each of its {ranks} ranks. Give more, a smaller reading.block, or fewer "
                "streams."
            )
        if room(2 + sampler.behind) > self.cache_gb * 2**30:
            rank_zero_warn(
                f"{given}. A rank draws {read_ahead} examples before they are read, so that {2 + sampler.behind} "
                f"blocks of {self.block} chunks are in use of each stream: with less than "
                f"{_gib(room(2 + sampler.behind))} on this machine chunks are fetched again. Give more, a smaller "
                "reading.block, or fewer or smaller batches ahead (--data.num_workers, --data.batch_size)."
            )


def _gib(size: int) -> str:
    """Bytes as a number of GiB that is enough."""
    return f"{math.ceil(size / 2**30 * 1000) / 1000:g}"


def place(root: str) -> str:
    """A folder as an absolute path; an address as it is, without a slash at its end."""
    return root.rstrip("/") if "://" in root else os.path.abspath(os.path.expanduser(root))


def check_kind(index: ShardIndex, kind: str, root: str) -> ShardIndex:
    """Raises an `InputError` if the shards are of another kind; litdata's own say nothing."""
    if index.kind not in ("", kind):
        raise InputError(f"{root} holds shards of kind {index.kind}; this data module reads {kind}.")
    return index
