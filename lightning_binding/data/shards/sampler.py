"""The draws of a rank from shards."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from torch.utils.data import Dataset

from lightning_binding.data.sampling import Draw, TrainSampler
from lightning_binding.data.shards.order import Numbers, ShardOrder
from lightning_binding.errors import InputError


class ShardSampler(TrainSampler):
    """The draws of one rank, and a word to whoever fetches chunks when a block begins.

    Args:
        data: What is sampled; it must have a length, the sum of the sizes.
        sizes: Draws of each chunk.
        num_replicas: Number of ranks.
        rank: This rank.
        seed: Of the orders.
        block: Chunks whose examples are shuffled together.
        streams: Number of streams over all ranks; None: one for each rank. With the same number the order is the same
            on any number of ranks; a rank needs few chunks if it is a multiple of theirs.
        ahead: Called when a block begins, with the chunks that are needed from then on, those of the block that each
            stream is in and then those of the next, and with those behind, the farthest first.
        identity: What tells these shards from others of the same sizes.
        behind: Blocks behind the one that a stream is in, which workers may not have read yet.

    Raises:
        InputError: Fewer examples than streams or ranks, or sizes that are not positive.
    """

    def __init__(
        self,
        data: Dataset[Any],
        sizes: Sequence[int],
        num_replicas: int,
        rank: int,
        seed: int,
        block: int = 4,
        streams: int | None = None,
        ahead: Callable[[list[int], list[int]], None] | None = None,
        identity: bytes = b"",
        behind: int = 0,
    ) -> None:
        super().__init__(data, num_replicas, rank, seed)
        if block < 1 or (streams is not None and streams < 1):
            raise InputError(f"block is {block} and streams {streams}; both must be 1 or more.")
        self.sizes = list(sizes)
        self.block = block
        self._streams = streams or num_replicas
        self._started: tuple[int, int] | None = None
        self.ahead, self.identity, self.behind = ahead, identity, behind
        if sum(self.sizes) < max(self._streams, num_replicas):
            raise InputError(
                f"{sum(self.sizes)} examples cannot be dealt to {num_replicas} ranks and {self._streams} streams; give "
                "fewer of them."
            )

    @property
    def streams(self) -> int:
        """The streams of the epoch: those it began with, on however many ranks that was."""
        return self._started[1] if self._started and self._started[0] == self.epoch else self._streams

    def state(self) -> dict[str, int]:
        """What the order depends on beside the epoch: the streams, and a checksum of all else."""
        order = repr((self.seed, self.block, self.sizes, self.identity))
        return {"streams": self.streams, "order": zlib.crc32(order.encode())}

    def resume(self, epoch: int, seen: int, state: dict[str, int] | None = None) -> None:
        """Go on in an epoch, in the order that it began with.

        Raises:
            InputError: In the middle of an epoch, if the order would be another.
        """
        if seen and state and state.get("order", 0) != self.state()["order"]:
            raise InputError(
                "the checkpoint is from the middle of an epoch of other shards, or with another seed or reading.block: "
                "give those, or go on from a checkpoint of an epoch's end."
            )
        super().resume(epoch, seen)
        if seen and state and "streams" in state:
            self._started = (epoch, state["streams"])

    def __len__(self) -> int:
        """Number of examples of this rank in the epoch."""
        return sum(self.sizes) // self.streams * self.streams // self.num_replicas

    def __iter__(self) -> Iterator[Draw]:
        """Yield the draws of this rank in this epoch."""
        epoch = self.epoch
        order = ShardOrder(self.sizes, self.seed, epoch, self.streams, self.block)
        seen = self._resumed[1] if epoch == self._resumed[0] else 0
        turn = np.arange(self.rank, self.rank + len(self) * self.num_replicas, self.num_replicas)
        # Of the streams, those that are r modulo the greatest common divisor are this rank's.
        apart = math.gcd(order.streams, self.num_replicas)
        example, block = np.empty_like(turn), np.empty_like(turn)
        for number in range(self.rank % apart, order.streams, apart):
            chosen = turn % order.streams == number
            examples, blocks = order.stream(number)
            example[chosen], block[chosen] = (each[turn[chosen] // order.streams] for each in (examples, blocks))
        return self._draws(order, turn[seen:] % order.streams, example[seen:], block[seen:])

    def _draws(self, order: ShardOrder, stream: Numbers, example: Numbers, block: Numbers) -> Iterator[Draw]:
        """The draws; what is needed next is said in time."""
        at: dict[int, int] = {}
        first: dict[int, int] = {}
        blocks = {int(number): order.blocks(int(number)) for number in np.unique(stream)} if self.ahead else {}

        def near(begin: int, end: int) -> list[int]:
            """The chunks of the blocks that are so far from the one that each stream is in."""
            places = [(each, now + away) for away in range(begin, end) for each, now in at.items()]
            there = [blocks[each][place] for each, place in places if first[each] <= place < len(blocks[each])]
            return [chunk for each in there for chunk in each]

        for number, index, place in zip(stream.tolist(), example.tolist(), block.tolist(), strict=True):
            if self.ahead and at.get(number) != place:
                at[number] = place
                first.setdefault(number, place)
                self.ahead(near(0, 2), near(-self.behind, 0))
            yield index, order.epoch
