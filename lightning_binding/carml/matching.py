"""Who is who from one fit to the next: the assignment that keeps most trajectories with their component."""

import torch
from torch import Tensor

from lightning_binding.errors import InputError


def best_assignment(gain: Tensor) -> Tensor:
    """The one-to-one assignment of rows to columns with the largest total gain.

    By shortest augmenting paths (Jonker and Volgenant, 1987), in O(K^3).

    Args:
        gain: Gain of each pair, (K, K).

    Returns:
        Column of each row, (K,).

    Raises:
        InputError: If the matrix is not square.
    """
    if gain.ndim != 2 or gain.shape[0] != gain.shape[1]:
        raise InputError(f"gain has the shape {tuple(gain.shape)}, expected (K, K).")
    size = len(gain)
    cost = (-gain.detach().double().cpu()).tolist()
    infinity = float("inf")
    row_price, column_price = [0.0] * (size + 1), [0.0] * (size + 1)
    owner = [size] * (size + 1)  # row of each column; column `size` stands for where a new path begins
    for row in range(size):
        owner[size], column = row, size
        least, before, done = [infinity] * size, [size] * size, [False] * (size + 1)
        while owner[column] != size:
            done[column] = True
            here, step, following = owner[column], infinity, size
            for other in range(size):
                if done[other]:
                    continue
                reduced = cost[here][other] - row_price[here] - column_price[other]
                if reduced < least[other]:
                    least[other], before[other] = reduced, column
                if least[other] < step:
                    step, following = least[other], other
            for other in range(size + 1):
                if done[other]:
                    row_price[owner[other]] += step
                    column_price[other] -= step
                elif other < size:
                    least[other] -= step
            column = following
        while column != size:  # turn the path around
            owner[column], column = owner[before[column]], before[column]
    assignment = torch.empty(size, dtype=torch.long)
    for column in range(size):
        assignment[owner[column]] = column
    return assignment


def match_components(new: Tensor, old: Tensor) -> Tensor:
    """The order in which new components take the places of the old ones whose trajectories they own.

    Args:
        new: Responsibilities of the new fit for some trajectories, (N, K).
        old: Those of the fit before for the same trajectories, (N, L).

    Returns:
        For each old component the new one that is to bear its number, (max(K, L),). If there are more new ones, those
        that take no place come last; if there are fewer, numbers from K on stand in the places of those that are gone.
    """
    gain = old.T @ new.to(old)
    size = max(gain.shape)
    square = gain.new_zeros(size, size)
    square[: gain.shape[0], : gain.shape[1]] = gain
    return best_assignment(square)
