"""Recurrent Interface Networks: tokens, read, compute, write, and latent self-conditioning.

Jabri, Fleet, Chen, *Scalable Adaptive Computation for Iterative Generation*, ICML 2023, arXiv 2212.11972; the layers
are those of the original code (google-research/pix2seq, `architectures/tape.py`), number for number.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from lightning_binding.rin import checks
from lightning_binding.rin.core import Core
from lightning_binding.rin.layers import glorot_, one_hot
from lightning_binding.rin.tokens import Patches


class RINOutput(NamedTuple):
    """What a RIN returns.

    Attributes:
        prediction: The network's estimate, of the input's shape; None if no readout was asked for.
        latents: Latents after the last block, (B, m, D): the next call's `latents`.
        interface: Interface after the last block, (B, n, d), the noisy tokens first; None without readout.
    """

    prediction: Tensor | None
    latents: Tensor
    interface: Tensor | None


class RIN(Core):
    """Recurrent Interface Network for images and videos.

    Args:
        image_size: Height and width of the pictures in pixels.
        patch_size: Height and width of a patch; divides `image_size`.
        interface_dim: Width d of the interface tokens.
        latents: Number m of latents, the time token and the class token among them.
        latent_dim: Width D of the latents; a multiple of 8.
        blocks: Self-attention layers K_i of each block, so its length is the number of blocks. With 0 a block
            only reads.
        latent_heads: Heads of the self-attention; divides `latent_dim`.
        cross_heads: Heads of reads and writes; divides min(`interface_dim`, `latent_dim`).
        latent_mlp_ratio: Hidden ratio of the latents' feed-forward layers.
        interface_mlp_ratio: Hidden ratio of the interface's feed-forward layers; 0 leaves them out.
        num_classes: Number of classes; 0 for an unconditional network, which has no class token.
        in_channels: Channels of the pictures.
        frames: Frames of a clip, the context among them; 1 for images.
        temporal_patch: Frames of a patch.
        context_frames: Clean frames that a clip is predicted from; they follow the noisy ones in the interface.
        dropout: Dropout on the hidden units of the latents' feed-forward layers.
        drop_path: Probability of dropping a residual branch of the latent computation.
        attention_dropout: Dropout on the self-attention weights.
        time_scale: Factor on gamma before the sinusoids of the time token.
        sinusoidal_init: Start the interface's positions, which are learned, from sines and cosines of the patches'
            coordinates instead of small random numbers: for small budgets.

    Raises:
        InputError: If sizes do not fit together (a patch that does not divide the size, heads that do not divide
            the width, too few latents, no block), or a probability is none.
    """

    def __init__(
        self,
        image_size: int = 32,
        patch_size: int = 4,
        interface_dim: int = 256,
        latents: int = 64,
        latent_dim: int = 256,
        blocks: Sequence[int] = (2, 2, 2),
        latent_heads: int = 8,
        cross_heads: int = 8,
        latent_mlp_ratio: float = 4,
        interface_mlp_ratio: float = 2,
        num_classes: int = 0,
        in_channels: int = 3,
        frames: int = 1,
        temporal_patch: int = 1,
        context_frames: int = 0,
        dropout: float = 0.0,
        drop_path: float = 0.0,
        attention_dropout: float = 0.0,
        time_scale: float = 1000.0,
        sinusoidal_init: bool = False,
    ) -> None:
        condition_tokens = 1 + (num_classes > 0)
        checks.check_positive(in_channels=in_channels, temporal_patch=temporal_patch)
        checks.check_patch(image_size, patch_size)
        checks.check_frames(frames, context_frames)
        super().__init__(
            interface_dim,
            latents,
            condition_tokens,
            latent_dim,
            blocks,
            latent_heads,
            cross_heads,
            latent_mlp_ratio,
            interface_mlp_ratio,
            dropout,
            drop_path,
            attention_dropout,
            time_scale,
        )
        self.image_size, self.in_channels, self.num_classes = image_size, in_channels, num_classes
        self.frames, self.context_frames = frames, context_frames
        self.sinusoidal_init = sinusoidal_init
        self.patches = Patches(temporal_patch, patch_size, in_channels)
        self.noisy_tokens = self.patches.count(frames - context_frames, image_size, image_size)
        tokens = self.noisy_tokens + self.patches.count(context_frames, image_size, image_size)
        self.stem = nn.Linear(self.patches.size, interface_dim)
        self.interface_position = nn.Parameter(torch.empty(tokens, interface_dim))
        self.class_token = nn.Linear(num_classes, latent_dim) if num_classes else None
        self.readout = nn.Linear(interface_dim, self.patches.size)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """The original's initialisation: Glorot-uniform kernels, zero biases, and a zero scale of `previous_norm`."""
        self.reset_core()
        receptive_field = self.patches.size // self.in_channels  # the stem is a convolution in the original
        glorot_(self.stem.weight, self.patches.size, receptive_field * self.interface_dim)
        nn.init.trunc_normal_(self.interface_position, std=0.02, a=-0.04, b=0.04)
        if self.sinusoidal_init:
            shape = self.frames, self.context_frames, self.image_size, self.interface_dim
            self.interface_position.data.copy_(self.patches.clip_positions(*shape))

    @classmethod
    def from_official(cls, weights: Mapping[str, Any], config: Mapping[str, Any] | str) -> "RIN":
        """The network with the variables of the original TensorFlow code.

        Args:
            weights: Arrays by variable name, such as `rin/stem/kernel`, in the original's shapes.
            config: The original's sizes, as a mapping or JSON: `blocks`, `latents`, `latent_dim`, …

        Raises:
            InputError: If a variable is missing, left over, or of another shape.
        """
        from lightning_binding.rin.official import convert, options

        network = cls(**options(config))
        network.load_state_dict(convert(weights, network))
        return network

    def tokenize(self, video: Tensor, context: Tensor | None) -> Tensor:
        """Interface tokens X = LN(stem(x)) + E_x of shape (B, n, d); those of the context follow the noisy ones."""
        rows = self.patches.clip_rows(video, context)
        interface: Tensor = self.stem_norm(self.stem(rows)) + self.interface_position[: rows.shape[1]]
        return interface

    def condition(self, gamma: Tensor, label: Tensor | None, previous: Tensor | None) -> Tensor:
        """Latents Z = [E_z, time, class] + LN(Z' + FFN(Z')) before the first block, (B, m, D)."""
        batch = gamma.shape[0]
        tokens = [self.latent_position.expand(batch, -1, -1), self.time_token(gamma)[:, None]]
        if self.class_token is not None:
            classes = one_hot(label, gamma, self.num_classes).to(self.class_token.weight.dtype)
            tokens.append(self.class_token(classes)[:, None])
        return self.warm_start(tokens, previous)

    def forward(
        self,
        x: Tensor,
        gamma: Tensor,
        label: Tensor | None = None,
        latents: Tensor | None = None,
        context: Tensor | None = None,
        *,
        readout: bool = True,
    ) -> RINOutput:
        """One evaluation of the denoiser.

        Args:
            x: Noisy images (B, C, H, W) or clips (B, T, C, H, W) of about unit variance.
            gamma: Signal level of each example in [0, 1], shape (B,); x = sqrt(gamma) x_0 + sqrt(1 - gamma) eps.
            label: Classes in [0, num_classes), shape (B,); -1, or None for all, is the null label.
            latents: Latents of the previous evaluation, (B, m, D); None means zeros.
            context: Clean frames (B, T_c, C, H, W) that the clip goes on from.
            readout: False leaves out the last write and the readout, for passes that only the latents are wanted of.

        Returns:
            The prediction, the latents and the interface.

        Raises:
            InputError: If a tensor has another shape or range than the network was built for.
        """
        checks.check_input(self, x, gamma, label, latents, context)
        video = x if x.ndim == 5 else x[:, None]
        interface = self.tokenize(video, context)
        z = self.condition(gamma, label, latents)
        z, interface = self.compute(z, interface, readout)
        if not readout:
            return RINOutput(None, z, None)
        rows = self.readout(self.readout_norm(interface[:, : self.noisy_tokens]))
        prediction = self.patches.to_video(rows, video.shape[1], *video.shape[-2:])
        return RINOutput(prediction if x.ndim == 5 else prediction[:, 0], z, interface)
