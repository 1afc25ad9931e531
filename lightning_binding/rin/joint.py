"""One RIN over several modalities: continuous patches and bits as tokens of one interface, a noise level for each.

The thesis leaves open how to model discrete and continuous data together. Here both become rows of numbers: pictures
as they are, categories and masks as analog bits (arXiv 2208.04202). Each modality has a stem and a time token of its
own, as in UniDiffuser (arXiv 2303.06555), so that one set of weights gives the joint, every conditional (the given
modality is clean, gamma = 1) and every marginal (the other one is noise, gamma = 0).
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from lightning_binding.errors import InputError
from lightning_binding.rin.core import Core
from lightning_binding.rin.layers import ScalarEmbedding, glorot_
from lightning_binding.rin.tokens import Patches, sinusoidal_positions


class Shape(NamedTuple):
    """The shape of a modality: a picture of any number of channels.

    Attributes:
        channels: C; bits of a category are channels too.
        size: Height and width; a category is a picture of one pixel.
        patch: Height and width of a patch; divides `size`.
    """

    channels: int
    size: int
    patch: int


class JointOutput(NamedTuple):
    """What a `JointRIN` returns.

    Attributes:
        predictions: The estimate for each modality, of its shape; None if no readout was asked for.
        latents: Latents after the last block, (B, m, D).
        interface: Interface after the last block, (B, n, d), modality after modality; None without readout.
    """

    predictions: tuple[Tensor, ...] | None
    latents: Tensor
    interface: Tensor | None


class Tokens(nn.Module):
    """Between one modality and its part of the interface.

    Args:
        shape: Of the modality.
        interface_dim: Width d of the tokens.
        latent_dim: Width D of its time token.
        time_scale: Factor on gamma before the sinusoids of the time token.
        positions: Give the tokens positions; those of another modality carry them already where tokens are shared.
    """

    def __init__(
        self, shape: Shape, interface_dim: int, latent_dim: int, time_scale: float, positions: bool = True
    ) -> None:
        super().__init__()
        if shape.size < 1 or shape.patch < 1 or shape.size % shape.patch or shape.channels < 1:
            raise InputError(f"modality of {shape}: a patch must divide the size, and there must be a channel.")
        self.shape, self.patches = shape, Patches(1, shape.patch, shape.channels)
        self.count = self.patches.count(1, shape.size, shape.size)
        self.stem = nn.Linear(self.patches.size, interface_dim)
        self.position = nn.Parameter(torch.empty(self.count, interface_dim)) if positions else None
        self.time_token = ScalarEmbedding(latent_dim, time_scale)
        self.readout = nn.Linear(interface_dim, self.patches.size)

    def reset_parameters(self) -> None:
        """The stem is a convolution in the original; positions start from sinusoids, so that modalities align."""
        glorot_(self.stem.weight, self.patches.size, self.patches.size // self.shape.channels * len(self.stem.weight))
        if self.position is not None:
            grid = self.patches.coordinates(1, self.shape.size, self.shape.size)[:, 1:]
            self.position.data.copy_(sinusoidal_positions(grid, self.position.shape[1]))

    def forward(self, x: Tensor) -> Tensor:
        """Rows (B, n, d) of x (B, C, H, W), before the norm and the positions."""
        rows: Tensor = self.stem(self.patches.to_rows(x[:, None]))
        return rows

    def read_out(self, interface: Tensor) -> Tensor:
        """The estimate (B, C, H, W) of normed tokens (B, n, d)."""
        return self.patches.to_video(self.readout(interface), 1, self.shape.size, self.shape.size)[:, 0]


class JointRIN(Core):
    """Recurrent Interface Network over several modalities with a noise level each.

    Args:
        modalities: Shape of each modality, as (channels, size, patch).
        interface_dim: Width d of the interface tokens.
        latents: Number m of latents, one time token for each modality among them.
        latent_dim: Width D of the latents; a multiple of 8.
        blocks: Self-attention layers K_i of each block.
        latent_heads: Heads of the self-attention; divides `latent_dim`.
        cross_heads: Heads of reads and writes; divides min(`interface_dim`, `latent_dim`).
        latent_mlp_ratio: Hidden ratio of the latents' feed-forward layers.
        interface_mlp_ratio: Hidden ratio of the interface's feed-forward layers.
        dropout: Dropout on the hidden units of the latents' feed-forward layers.
        drop_path: Probability of dropping a residual branch of the latent computation.
        time_scale: Factor on gamma before the sinusoids of the time tokens.
        share_tokens: Modalities with as many patches in a row, such as a frame and its mask, are sums in the same
            tokens and are read off them: what belongs to one place need not find it through the latents.

    Raises:
        InputError: If there is no modality, a patch does not divide a size, or sizes do not fit together.
    """

    def __init__(
        self,
        modalities: Sequence[tuple[int, int, int]],
        interface_dim: int = 128,
        latents: int = 32,
        latent_dim: int = 192,
        blocks: Sequence[int] = (1, 1, 1, 1),
        latent_heads: int = 6,
        cross_heads: int = 4,
        latent_mlp_ratio: float = 4,
        interface_mlp_ratio: float = 2,
        dropout: float = 0.0,
        drop_path: float = 0.0,
        time_scale: float = 1000.0,
        share_tokens: bool = False,
    ) -> None:
        if not modalities:
            raise InputError("a joint model needs at least one modality.")
        super().__init__(
            interface_dim,
            latents,
            len(modalities),
            latent_dim,
            blocks,
            latent_heads,
            cross_heads,
            latent_mlp_ratio,
            interface_mlp_ratio,
            dropout,
            drop_path,
            time_scale=time_scale,
        )
        del self.time_token  # every modality has its own
        self.shapes = [Shape(*each) for each in modalities]
        rows = [each.size // max(each.patch, 1) for each in self.shapes]
        # The place of each modality's tokens in the interface, by number; the first of a place has its positions.
        self.places = [rows.index(row) if share_tokens else index for index, row in enumerate(rows)]
        self.modalities = nn.ModuleList(
            Tokens(each, interface_dim, latent_dim, time_scale, place == index)
            for index, (each, place) in enumerate(zip(self.shapes, self.places, strict=True))
        )
        self.reset_core()
        for tokens in self._tokens():
            tokens.reset_parameters()

    def forward(
        self, x: Sequence[Tensor], gamma: Tensor, latents: Tensor | None = None, *, readout: bool = True
    ) -> JointOutput:
        """One evaluation of the denoiser.

        Args:
            x: Noisy data of each modality, (B, C, H, W) of its own shape.
            gamma: Signal level of each example and modality, (B, M), in [0, 1].
            latents: Latents of the previous evaluation, (B, m, D); None means zeros.
            readout: False leaves out the last write and the readouts.

        Returns:
            The predictions, the latents and the interface.

        Raises:
            InputError: If the tensors are not those of the modalities.
        """
        self._check(x, gamma)
        learned = self.latent_position.expand(len(gamma), -1, -1)
        times = [tokens.time_token(each)[:, None] for tokens, each in zip(self._tokens(), gamma.unbind(1), strict=True)]
        places = sorted(set(self.places))
        z = self.warm_start([learned, *times], latents)
        z, interface = self.compute(z, torch.cat([self._rows(place, x) for place in places], 1), readout)
        if not readout:
            return JointOutput(None, z, None)
        counts = [self._tokens()[place].count for place in places]
        pieces = dict(zip(places, torch.split(self.readout_norm(interface), counts, 1), strict=True))
        outs = tuple(each.read_out(pieces[place]) for each, place in zip(self._tokens(), self.places, strict=True))
        return JointOutput(outs, z, interface)

    def _rows(self, place: int, x: Sequence[Tensor]) -> Tensor:
        """Interface tokens (B, n, d) of a place: the sum of the modalities that share it, normed, with positions."""
        parts = [tokens(each) for tokens, each, at in zip(self._tokens(), x, self.places, strict=True) if at == place]
        position = self._tokens()[place].position
        assert position is not None
        rows: Tensor = self.stem_norm(torch.stack(parts).sum(0)) + position
        return rows

    def _tokens(self) -> list[Tokens]:
        return [tokens for tokens in self.modalities if isinstance(tokens, Tokens)]

    def _check(self, x: Sequence[Tensor], gamma: Tensor) -> None:
        expected = [(each.channels, each.size, each.size) for each in self.shapes]
        given = [tuple(each.shape[1:]) for each in x]
        if given != expected:
            raise InputError(f"x has modalities of shape {given}, this network takes {expected}.")
        if tuple(gamma.shape) != (len(x[0]), len(x)):
            raise InputError(
                f"gamma has shape {tuple(gamma.shape)}, expected {(len(x[0]), len(x))}: a level for each example and "
                "modality."
            )
