"""The core of a RIN: what does not know whether it works on images, videos or anything else.

"Beyond tokenization, the model is domain-agnostic, as X is simply a set of vectors" (arXiv 2212.11972, section 3).
Outside of the core are the stem and the readout, whose shape is that of a patch, the positions of the interface, and
the class token. The core has the same names in every RIN, so that one trained on images goes on with video.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from lightning_binding.errors import InputError
from lightning_binding.rin import checks
from lightning_binding.rin.layers import (
    Attention,
    CrossUnit,
    FeedForward,
    ScalarEmbedding,
    SelfUnit,
    glorot_,
    layer_norm,
)
from lightning_binding.weights import raise_mismatch, read_weights, without_prefix

OUTSIDE = ("stem.", "readout.", "interface_position", "class_token.", "modalities.")
LEARNED_LATENTS = "latent_position"


class Block(nn.Module):
    """Read from the interface, compute on the latents, write back. Weights are not shared between blocks.

    Args:
        read: Updates the latents from the interface.
        compute: Self-attention layers of the latents.
        write: Updates the interface from the latents; None leaves it as it is.
    """

    def __init__(self, read: CrossUnit, compute: Sequence[SelfUnit], write: CrossUnit | None) -> None:
        super().__init__()
        self.read = read
        self.compute = nn.Sequential(*compute)
        self.write = write

    def forward(self, latents: Tensor, interface: Tensor, write: bool = True) -> tuple[Tensor, Tensor]:
        """Maps latents (B, m, D) and interface (B, n, d) to their updates."""
        latents = self.compute(self.read(latents, interface))
        return latents, self.write(interface, latents) if write and self.write is not None else interface


class Core(nn.Module):
    """Latents, the blocks that work on them, and their warm start from an earlier evaluation.

    A subclass makes interface tokens of its data, and reads its predictions off them.

    Args:
        interface_dim: Width d of the interface tokens.
        latents: Number m of latents, those of the condition among them.
        condition_tokens: Latents that hold the noise level, the class and the like; the others are learned.
        latent_dim: Width D of the latents; a multiple of 8.
        blocks: Self-attention layers K_i of each block. With 0 a block only reads.
        latent_heads: Heads of the self-attention; divides `latent_dim`.
        cross_heads: Heads of reads and writes; divides min(`interface_dim`, `latent_dim`).
        latent_mlp_ratio: Hidden ratio of the latents' feed-forward layers.
        interface_mlp_ratio: Hidden ratio of the interface's feed-forward layers; 0 leaves them out.
        dropout: Dropout on the hidden units of the latents' feed-forward layers.
        drop_path: Probability of dropping a residual branch of the latent computation.
        attention_dropout: Dropout on the self-attention weights.
        time_scale: Factor on gamma before the sinusoids of the time token.

    Raises:
        InputError: If heads do not divide the width, there are too few latents or no block, or a probability is none.
    """

    def __init__(
        self,
        interface_dim: int,
        latents: int,
        condition_tokens: int,
        latent_dim: int,
        blocks: Sequence[int],
        latent_heads: int,
        cross_heads: int,
        latent_mlp_ratio: float = 4,
        interface_mlp_ratio: float = 2,
        dropout: float = 0.0,
        drop_path: float = 0.0,
        attention_dropout: float = 0.0,
        time_scale: float = 1000.0,
    ) -> None:
        super().__init__()
        checks.check_positive(interface_dim=interface_dim, latent_dim=latent_dim, latent_mlp_ratio=latent_mlp_ratio)
        checks.check_latents(latents, condition_tokens, latent_dim)
        checks.check_heads("latent_heads", latent_heads, "latent_dim", latent_dim)
        checks.check_heads("cross_heads", cross_heads, "the narrower width", min(interface_dim, latent_dim))
        checks.check_blocks(blocks)
        checks.check_rates(dropout=dropout, drop_path=drop_path, attention_dropout=attention_dropout)
        self.num_latents, self.latent_dim, self.interface_dim = latents, latent_dim, interface_dim
        self.layers = list(blocks)
        self.latent_mlp_ratio, self.interface_mlp_ratio = latent_mlp_ratio, interface_mlp_ratio
        self.stem_norm = layer_norm(interface_dim)
        self.latent_position = nn.Parameter(torch.empty(latents - condition_tokens, latent_dim))
        self.time_token = ScalarEmbedding(latent_dim, time_scale)
        self.previous = FeedForward(latent_dim, latent_mlp_ratio)
        self.previous_norm = layer_norm(latent_dim)

        def block(layers: int) -> Block:
            compute = [
                SelfUnit(latent_dim, latent_heads, latent_mlp_ratio, dropout, drop_path, attention_dropout)
                for _ in range(layers)
            ]
            read = CrossUnit(latent_dim, interface_dim, cross_heads, latent_mlp_ratio)
            write = CrossUnit(interface_dim, latent_dim, cross_heads, interface_mlp_ratio) if layers else None
            return Block(read, compute, write)

        self.blocks = nn.ModuleList(block(layers) for layers in blocks)
        self.readout_norm = layer_norm(interface_dim)

    def reset_core(self) -> None:
        """Glorot-uniform kernels and zero biases, a subclass's too, and a zero scale of `previous_norm`."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                glorot_(module.weight, module.in_features, module.out_features)
                nn.init.zeros_(module.bias)
        for module in self.modules():
            if isinstance(module, Attention):
                module.reset_parameters()
        nn.init.trunc_normal_(self.latent_position, std=0.02, a=-0.04, b=0.04)
        nn.init.zeros_(self.previous_norm.weight)  # Z_t = Z_init early in training (section 3.2 of the paper)

    def warm_start(self, tokens: Sequence[Tensor], previous: Tensor | None) -> Tensor:
        """Latents Z = Z_init + LN(Z' + FFN(Z')) before the first block.

        Args:
            tokens: The parts of Z_init, (B, ., D) each.
            previous: Latents Z' of an earlier evaluation, (B, m, D); None means zeros.

        Returns:
            The latents, (B, m, D).
        """
        latents = torch.cat([token.to(tokens[0].dtype) for token in tokens], dim=1)
        previous = torch.zeros_like(latents) if previous is None else previous
        warm_start: Tensor = self.previous_norm(previous + self.previous(previous))
        return latents + warm_start

    def compute(self, latents: Tensor, interface: Tensor, write: bool = True) -> tuple[Tensor, Tensor]:
        """All blocks on latents (B, m, D) and interface (B, n, d); `write=False` leaves out the last write."""
        last = len(self.blocks) - 1
        for index, block in enumerate(self.blocks):
            latents, interface = block(latents, interface, write=write or index < last)
        return latents, interface


def core(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights of the core, by name."""
    return {name: value for name, value in weights.items() if not name.startswith(OUTSIDE)}


@torch.no_grad()
def load_core(network: nn.Module, path: str | Path) -> None:
    """Loads the core of another RIN; everything else stays as it is.

    A class token takes the place of a learned latent, so with and without classes their numbers differ by one: the
    learned latents that both have are loaded.

    Args:
        network: A RIN.
        path: Checkpoint, or safetensors file, of a RIN whose latents and blocks have the same sizes.

    Raises:
        InputError: If the file is missing or damaged, or sizes differ.
    """
    wanted = core(network.state_dict())
    weights = core(without_prefix(read_weights(path), network.state_dict()))
    own, given = wanted.get(LEARNED_LATENTS), weights.get(LEARNED_LATENTS)
    if own is None or given is None or own.shape[1] != given.shape[1] or abs(len(own) - len(given)) > 1:
        sizes = [None if each is None else tuple(each.shape) for each in (given, own)]
        raise InputError(
            f"core_from: {path} has learned latents of shape {sizes[0]}, the network {sizes[1]}; expected the same "
            "number and width: give both networks the same latents and latent_dim."
        )
    weights[LEARNED_LATENTS] = torch.cat([given[: len(own)], own[len(given) :]])
    raise_mismatch(weights, wanted, path)
    network.load_state_dict(weights, strict=False)
