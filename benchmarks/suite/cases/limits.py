"""What the machine can do at most: a matrix product, and a copy of memory, on one thread."""

import torch

from suite.side import Side

SIZE = 2048
COPIED = 64 * 2**20


def matrix(kind: torch.dtype = torch.float32) -> Side:
    """A square product; its cost is in operations, two for each multiplication."""
    a, b = (torch.randn(SIZE, SIZE).to(kind) for _ in range(2))

    def call() -> None:
        a @ b

    return Side(call, 1, 2 * SIZE**3)


def copy() -> Side:
    """Bytes that are copied, more than caches hold."""
    source, target = torch.zeros(COPIED, dtype=torch.uint8), torch.zeros(COPIED, dtype=torch.uint8)

    def call() -> None:
        target.copy_(source)

    return Side(call, 1, COPIED)


SIDES = {"matrix": matrix, "matrix_bf16": lambda: matrix(torch.bfloat16), "copy": copy}
