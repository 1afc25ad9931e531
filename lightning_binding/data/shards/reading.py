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
            streams, and more where its workers read further ahead than a block; what other runs that share it need is
            not known here.
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
            read_ahead: Examples that the workers of a rank hold ready; for them, a cache that is too small is warned
                of, since chunks may come twice.

        Raises:
            InputError: Fewer examples than ranks, or a cache that is too small for two blocks of each stream.
        """
        sizes = [size * repeats for size in items.sizes]
        sampler = ShardSampler(data, sizes, *replicas(), seed, self.block, self.streams, items.expect, items.identity())
        if self.cache is not None:
            self._make_room(sampler, items, 1 if trainer is None else trainer.num_devices, read_ahead)
        return sampler

    def _make_room(self, sampler: ShardSampler, items: ShardItems, ranks: int, read_ahead: int) -> None:
        """Compares the cache with what the ranks of this machine need at a time.

        That is of each stream the block it is in, the next one, and those that workers still read meanwhile.
        """
        own = sampler.streams // math.gcd(sampler.streams, sampler.num_replicas)  # the streams that a rank reads
        chunk = max(info.bytes for info in items.index.chunks) / 2**30

        def room(blocks: int) -> float:
            return min(blocks * self.block * own * ranks, len(sampler.sizes)) * chunk

        if room(2) > self.cache_gb:
            raise InputError(
                f"reading.cache_gb is {self.cache_gb:g}, and the run needs {room(2):.3g} on this machine: two blocks "
                f"of {self.block} chunks for each stream, {own} in each of its {ranks} ranks. Give more, a smaller "
                "reading.block, or fewer streams."
            )
        of_block = self.block * sum(sampler.sizes) / len(sampler.sizes)
        sampler.behind = math.ceil(read_ahead / own / of_block)
        blocks = 2 + sampler.behind
        if room(blocks) > self.cache_gb:
            rank_zero_warn(
                f"reading.cache_gb is {self.cache_gb:g}. The workers of a rank read {read_ahead} examples ahead and a "
                f"block has {of_block:.0f}, so that {blocks} blocks of each stream are in use, {room(blocks):.3g} GiB "
                "on this machine: with less, chunks may be fetched twice. Give more, or fewer or smaller batches ahead "
                "(--data.num_workers, --data.batch_size)."
            )


def place(root: str) -> str:
    """A folder as an absolute path; an address as it is, without a slash at its end."""
    return root.rstrip("/") if "://" in root else os.path.abspath(os.path.expanduser(root))


def check_kind(index: ShardIndex, kind: str, root: str) -> ShardIndex:
    """Raises an `InputError` if the shards are of another kind; litdata's own say nothing."""
    if index.kind not in ("", kind):
        raise InputError(f"{root} holds shards of kind {index.kind}; this data module reads {kind}.")
    return index
