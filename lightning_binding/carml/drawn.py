"""A sample of states, where looking at all of them would take long."""

import torch
from torch import Tensor


def drawn(count: int, most: int) -> Tensor:
    """Up to `most` of the numbers below `count`, without repetition: the same ones whenever they are asked for.

    A stride would favour some times of a trajectory.

    Returns:
        int64 (min(count, most),), in no order.
    """
    return torch.randperm(count, generator=torch.Generator().manual_seed(0))[:most]
