"""Which rank reads which example, and in which order.

Lightning replaces the sampler of a loader by a `DistributedSampler` when several ranks run, `use_distributed_sampler`
is on (the default) and the sampler is not one already; the one it makes repeats examples until every rank has as many.
Both samplers here are `DistributedSampler`s, so Lightning leaves them alone and the option has no effect: training is
sharded in either case, and evaluation sees each example exactly once.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch.distributed
from torch.utils.data import Dataset, DistributedSampler

from lightning_binding.errors import InputError

Draw = tuple[int, int]
"""An index and the epoch in which it is drawn: all that an augmentation may depend on, beside the seed."""


def replicas() -> tuple[int, int]:
    """The number of ranks and the number of this one; 1 and 0 outside distributed runs."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_world_size(), torch.distributed.get_rank()
    return 1, 0


class TrainSampler(DistributedSampler[Any]):
    """A new order in each epoch, dealt to the ranks in turn, from the seed and the epoch alone.

    The order does not depend on the number of workers or on what was drawn before. Each item is a `Draw`: it carries
    its epoch, because the copies of the dataset in persistent workers could not be told of it otherwise.

    Args:
        data: What is sampled; it must have a length.
        num_replicas: Number of ranks.
        rank: This rank.
        seed: Of the orders.
    """

    def __init__(self, data: Dataset[Any], num_replicas: int, rank: int, seed: int) -> None:
        enough = len(data) >= num_replicas  # type: ignore[arg-type]
        super().__init__(data, num_replicas, rank, shuffle=True, seed=seed, drop_last=enough)
        self._resumed: tuple[int, int] = (0, 0)

    def state(self) -> dict[str, int]:
        """What a checkpoint must hold of the order, beside the epoch."""
        return {"seed": self.seed}

    def resume(self, epoch: int, seen: int, state: dict[str, int] | None = None) -> None:
        """Go on in an epoch of which `seen` examples of this rank were drawn before a restart.

        The epoch is set at once, since Lightning begins to read before it calls `set_epoch`.

        Args:
            epoch: The epoch.
            seen: Examples of this rank.
            state: With what `state` gave before the restart.

        Raises:
            InputError: In the middle of an epoch, if the seed, and with it the order, is another.
        """
        if seen and state and state.get("seed", self.seed) != self.seed:
            raise InputError(
                f"the checkpoint is from the middle of an epoch in the order of data.seed={state['seed']}; that of "
                f"data.seed={self.seed} is another, in which examples would come twice or not at all: give the seed "
                "of before (recipes tie it to --seed_everything), or go on from a checkpoint of an epoch's end."
            )
        self.epoch = epoch
        self._resumed = (epoch, seen)

    def __iter__(self) -> Iterator[Draw]:
        """Yield the draws of this rank in this epoch."""
        epoch = self.epoch
        order = list(super().__iter__())
        first, seen = self._resumed
        return ((int(index), epoch) for index in order[seen if epoch == first else 0 :])


class ExactSampler(DistributedSampler[Any]):
    """The indices in order, cut into one run for each rank as `torch.tensor_split` cuts: none twice, none left out.

    Args:
        data: What is sampled; it must have a length.
        num_replicas: Number of ranks.
        rank: This rank.
    """

    def __init__(self, data: Dataset[Any], num_replicas: int, rank: int) -> None:
        super().__init__(data, num_replicas, rank, shuffle=False)
        small, larger = divmod(len(data), num_replicas)  # type: ignore[arg-type]
        self.start = rank * small + min(rank, larger)
        self.stop = self.start + small + (rank < larger)

    def __iter__(self) -> Iterator[int]:
        """Yield the indices of this rank."""
        return iter(range(self.start, self.stop))

    def __len__(self) -> int:
        """Number of examples of this rank."""
        return self.stop - self.start
