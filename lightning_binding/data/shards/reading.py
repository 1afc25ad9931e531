"""How shards are read: the options that images and videos share."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from torch.utils.data import Dataset

from lightning_binding.data.sampling import replicas
from lightning_binding.data.shards.index import ShardIndex
from lightning_binding.data.shards.items import ShardItems
from lightning_binding.data.shards.order import ShardSampler
from lightning_binding.data.shards.store import Folder, Store
from lightning_binding.errors import InputError


@dataclass(frozen=True)
class Reading:
    """How shards are read.

    Args:
        block: Chunks whose examples are shuffled together; more of them mix better and need more room.
        streams: Runs of chunks that are read at the same time, over all ranks; None: one for each rank. With the same
            number the order is the same on any number of ranks; make it a multiple of them.
    """

    block: int = 4
    streams: int | None = None

    def store(self, root: str) -> Store:
        """The chunks of one side of a split."""
        return Folder(root)

    def sampler(self, data: Dataset[Any], items: ShardItems, seed: int, repeats: int = 1) -> ShardSampler:
        """The draws of this rank.

        Args:
            data: What is sampled: `repeats` examples of each item.
            items: What the data are read from.
            seed: Of the order.
            repeats: Examples of each item.
        """
        sizes = [size * repeats for size in items.sizes]
        return ShardSampler(data, sizes, *replicas(), seed, self.block, self.streams, items.expect)


def place(root: str) -> str:
    """A folder as an absolute path; an address as it is, without a slash at its end."""
    return root.rstrip("/") if "://" in root else os.path.abspath(os.path.expanduser(root))


def check_kind(index: ShardIndex, kind: str, root: str) -> ShardIndex:
    """Raises an `InputError` if the shards are of another kind; litdata's own say nothing."""
    if index.kind not in ("", kind):
        raise InputError(f"{root} holds shards of kind {index.kind}; this data module reads {kind}.")
    return index
