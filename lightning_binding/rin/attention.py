"""The attention of every read and write, on request.

The normal path uses a fused kernel that never forms the weights; they are computed beside it only inside
`record_attention`, so that looking at them costs nothing when nobody looks.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from lightning_binding.errors import InputError
from lightning_binding.rin.core import Block, Core


@dataclass
class AttentionMaps:
    """Attention weights of the calls made so far; the first index is the call (the sampling step), then the block.

    Attributes:
        read: Weights of latents over interface tokens, (B, heads, m, n) each, in [0, 1], summing to 1 over n.
        write: Weights of interface tokens over latents, (B, heads, n, m) each; the last write is missing in a call
            without readout.
    """

    read: list[list[Tensor]] = field(default_factory=list)
    write: list[list[Tensor]] = field(default_factory=list)

    def computation(self, call: int = -1) -> Tensor:
        """How much every interface token is read, over blocks: (blocks, B, n), summing to 1 over n.

        The mean of the read attention over heads and latents, which the paper's figures show.
        """
        return torch.stack([weights.mean(dim=(1, 2)) for weights in self.read[call]])


@contextmanager
def record_attention(network: nn.Module) -> Iterator[AttentionMaps]:
    """Records the attention of a RIN's reads and writes in every call inside the context.

    Args:
        network: The RIN, not compiled.

    Yields:
        The maps, which grow by one entry for each call.

    Raises:
        InputError: If the network is not a RIN.
    """
    if not isinstance(network, Core):
        raise InputError(f"attention maps are those of a RIN's reads and writes; got a {type(network).__name__}.")
    maps = AttentionMaps()
    blocks = [block for block in network.blocks if isinstance(block, Block)]
    reads = [block.read.attention for block in blocks]
    writes = [block.write.attention for block in blocks if block.write is not None]

    def collect(module: nn.Module, inputs: object, output: object) -> None:
        maps.read.append([weights for attention in reads for weights in attention.recorded or []])
        maps.write.append([weights for attention in writes for weights in attention.recorded or []])
        for attention in reads + writes:
            attention.recorded = []

    for attention in reads + writes:
        attention.recorded = []
    handle = network.register_forward_hook(collect)
    try:
        yield maps
    finally:
        handle.remove()
        for attention in reads + writes:
            attention.recorded = None
