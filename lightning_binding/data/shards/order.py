"""The order of training on shards: another one in each epoch, in which each rank needs few chunks at a time.

The chunks are shuffled, and the examples in their order cut into as many runs of equal length, the *streams*, as there
are ranks. Within a stream, the examples of a few chunks, a *block*, are shuffled together, block after block. An epoch
takes one example of each stream in turn, and deals them to the ranks in turn: so a rank reads its own streams alone.

A rank is therefore within one block of each of its streams. With the next one, which is fetched meanwhile, it needs
`2 * block` chunks for each of its streams, however large the data are, and one block more for each that is drawn, in
part or whole, before it is read. Over an epoch it reads its share of the chunks and, for each of its streams, at most
one more, as a cut goes through a chunk.

Everything is a function of the seed, the epoch, the sizes of the chunks, and the number of streams.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from lightning_binding.data.draws import draw_bytes

Numbers = npt.NDArray[np.int64]

_CHUNKS, _EXAMPLES = 0x6368756E6B, 0x6974656D  # keep the two orders apart, and both from the augmentations


def _keys(seed: int, epoch: int, index: Numbers) -> npt.NDArray[np.uint64]:
    """A random number for each index; sorting by them is a shuffle."""
    return draw_bytes(seed, np.full_like(index, epoch), index).view("<u8")[:, 0]


class ShardOrder:
    """The order of an epoch.

    Args:
        sizes: Examples of each chunk; example `i` is the `i`-th of all chunks in their own order.
        seed: Of the order.
        epoch: The number of the epoch.
        streams: Number of streams; no more than there are examples.
        block: Chunks whose examples are shuffled together.
    """

    def __init__(self, sizes: Sequence[int], seed: int, epoch: int, streams: int, block: int) -> None:
        self.seed, self.epoch, self.streams, self.block = seed, epoch, streams, block
        size = np.array(sizes, np.int64)
        self.chunks: Numbers = np.argsort(_keys(seed ^ _CHUNKS, epoch, np.arange(len(size))), kind="stable")
        self.first = (np.cumsum(size) - size)[self.chunks]
        self.end = np.cumsum(size[self.chunks])
        self.length = int(self.end[-1]) // streams
        """Examples of a stream; a remainder of fewer than `streams` examples is left out of the epoch."""

    def stream(self, number: int) -> tuple[Numbers, Numbers]:
        """A stream.

        Returns:
            `(length,)` the examples, and `(length,)` the numbers of the blocks, from 0, that they are in.
        """
        place = np.arange(number * self.length, (number + 1) * self.length)
        slot = np.searchsorted(self.end, place, side="right")
        begin = self.end[slot] - (np.diff(self.end, prepend=0))[slot]
        example = self.first[slot] + place - begin
        block = (slot - slot[:1]) // self.block
        order = np.lexsort((_keys(self.seed ^ _EXAMPLES, self.epoch, example), block))
        return example[order], block[order]

    def blocks(self, number: int) -> list[list[int]]:
        """The chunks of each block of a stream."""
        first, last = np.searchsorted(self.end, [number * self.length, (number + 1) * self.length - 1], side="right")
        chunks = self.chunks[first : last + 1].tolist()
        return [chunks[at : at + self.block] for at in range(0, len(chunks), self.block)]
