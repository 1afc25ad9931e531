"""A transformer that spends the same on every token: the contrast to a RIN, trained by the same module.

Peebles, Xie, *Scalable Diffusion Models with Transformers*, ICCV 2023, arXiv 2212.09748: every token of the picture
attends to every other, and the noise level and the class modulate each block ("adaLN-Zero"). A RIN's read, compute and
write are left out, and with them what the cost can follow. Presets have the cost of the RIN of their name.
"""

from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lightning_binding.rin import checks
from lightning_binding.rin.layers import LAYER_NORM_EPS, Attention, ScalarEmbedding, one_hot
from lightning_binding.rin.presets import register
from lightning_binding.rin.tokens import Patches


class DiTBlock(nn.Module):
    """Self-attention and feed-forward of modulated tokens; the identity at initialisation.

    Args:
        width: Width d of the tokens.
        heads: Heads; divides `width`.
        ratio: Hidden ratio of the feed-forward.
    """

    def __init__(self, width: int, heads: int, ratio: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, eps=LAYER_NORM_EPS, elementwise_affine=False)
        self.attention = Attention(width, width, width, heads)
        self.expand = nn.Linear(width, int(width * ratio))
        self.contract = nn.Linear(int(width * ratio), width)
        self.modulation = nn.Linear(width, 6 * width)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """Maps tokens (B, n, d) with the condition (B, d) to (B, n, d)."""
        shift, scale, gate, shift_2, scale_2, gate_2 = self.modulation(F.silu(condition))[:, None].chunk(6, dim=-1)
        normed = self.norm(x) * (1 + scale) + shift
        x = x + gate * self.attention(normed, normed)
        normed = self.norm(x) * (1 + scale_2) + shift_2
        out: Tensor = x + gate_2 * self.contract(F.gelu(self.expand(normed), approximate="tanh"))
        return out


class DiT(nn.Module):
    """Diffusion transformer for images and videos, with the call of a `RIN`; it has no latents.

    Clean context frames are tokens after the noisy ones, attended to like those and modulated by the same condition;
    the readout is of the noisy ones alone.

    Args:
        image_size: Height and width of the pictures in pixels.
        patch_size: Height and width of a patch; divides `image_size`.
        width: Width d of the tokens; a multiple of 8.
        depth: Number of blocks.
        heads: Heads of the attention; divides `width`.
        mlp_ratio: Hidden ratio of the feed-forward layers.
        num_classes: Number of classes; 0 for an unconditional network.
        in_channels: Channels of the pictures.
        frames: Frames of a clip, the context among them; 1 for images.
        temporal_patch: Frames of a patch.
        context_frames: Clean frames that a clip is predicted from.
        time_scale: Factor on gamma before the sinusoids of the noise level.

    Raises:
        InputError: If sizes do not fit together.
    """

    def __init__(
        self,
        image_size: int = 32,
        patch_size: int = 4,
        width: int = 144,
        depth: int = 9,
        heads: int = 6,
        mlp_ratio: float = 4,
        num_classes: int = 0,
        in_channels: int = 3,
        frames: int = 1,
        temporal_patch: int = 1,
        context_frames: int = 0,
        time_scale: float = 1000.0,
    ) -> None:
        super().__init__()
        checks.check_positive(depth=depth, mlp_ratio=mlp_ratio, in_channels=in_channels, temporal_patch=temporal_patch)
        checks.check_patch(image_size, patch_size)
        checks.check_heads("heads", heads, "width", width)
        checks.check_frames(frames, context_frames)
        checks.require(width % 8 == 0, f"width={width} is not a multiple of 8, which the noise level's sinusoids need.")
        self.image_size, self.in_channels, self.num_classes = image_size, in_channels, num_classes
        self.frames, self.context_frames = frames, context_frames
        self.width, self.mlp_ratio = width, mlp_ratio
        self.patches = Patches(temporal_patch, patch_size, in_channels)
        self.noisy_tokens = self.patches.count(frames - context_frames, image_size, image_size)
        tokens = self.noisy_tokens + self.patches.count(context_frames, image_size, image_size)
        self.stem = nn.Linear(self.patches.size, width)
        self.position = nn.Parameter(torch.empty(tokens, width))
        self.noise_level = ScalarEmbedding(width, time_scale)
        self.class_token = nn.Linear(num_classes, width) if num_classes else None
        self.blocks = nn.ModuleList(DiTBlock(width, heads, mlp_ratio) for _ in range(depth))
        self.readout_norm = nn.LayerNorm(width, eps=LAYER_NORM_EPS, elementwise_affine=False)
        self.readout_modulation = nn.Linear(width, 2 * width)
        self.readout = nn.Linear(width, self.patches.size)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Glorot-uniform kernels, positions of sines and cosines, and zeros for modulations and the readout."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
        zeros = [cast(DiTBlock, block).modulation for block in self.blocks] + [self.readout_modulation, self.readout]
        for module in zeros:
            nn.init.zeros_(module.weight)
        shape = self.frames, self.context_frames, self.image_size, self.width
        self.position.data.copy_(self.patches.clip_positions(*shape))

    def condition(self, gamma: Tensor, label: Tensor | None) -> Tensor:
        """Embedding of noise level and class, (B, d); the null label is that of no class."""
        condition: Tensor = self.noise_level(gamma)
        if self.class_token is not None:
            classes = one_hot(label, gamma, self.num_classes).to(self.class_token.weight.dtype)
            condition = condition + self.class_token(classes)
        return condition

    def forward(
        self,
        x: Tensor,
        gamma: Tensor,
        label: Tensor | None = None,
        latents: Tensor | None = None,
        context: Tensor | None = None,
        *,
        readout: bool = True,
    ) -> tuple[Tensor | None, None, None]:
        """One evaluation of the denoiser.

        Args:
            x: Noisy images (B, C, H, W) or clips (B, T, C, H, W) of about unit variance.
            gamma: Signal level of each example in [0, 1], shape (B,).
            label: Classes in [0, num_classes), shape (B,); -1, or None for all, is the null label.
            latents: None: there are none.
            context: Clean frames (B, T_c, C, H, W) that the clip goes on from.
            readout: False computes nothing: it is for passes that only latents are wanted of.

        Returns:
            The prediction, and None for a RIN's latents and interface.

        Raises:
            InputError: If a tensor has another shape or range than the network was built for, or latents are given.
        """
        checks.require(latents is None, "a DiT has no latents to be given: set self_conditioning to 0.")
        checks.check_input(cast(Any, self), x, gamma, label, None, context)
        if not readout:
            return None, None, None
        video = x if x.ndim == 5 else x[:, None]
        rows = self.patches.clip_rows(video, context)
        tokens, condition = self.stem(rows) + self.position, self.condition(gamma, label)
        for block in self.blocks:
            tokens = block(tokens, condition)
        shift, scale = self.readout_modulation(F.silu(condition))[:, None].chunk(2, dim=-1)
        tokens = self.readout_norm(tokens[:, : self.noisy_tokens]) * (1 + scale) + shift
        prediction: Tensor = self.patches.to_video(self.readout(tokens), video.shape[1], *video.shape[-2:])
        return prediction if x.ndim == 5 else prediction[:, 0], None, None


def forward_macs(network: DiT) -> int:
    """Multiply-accumulates of one example's forward pass, in closed form, as `cost.forward_macs` of a RIN.

    The embeddings of noise level and class are left out as negligible.
    """
    n, d, ratio = network.position.shape[0], network.width, network.mlp_ratio
    block = 4 * n * d**2 + 2 * n**2 * d + 2 * n * d * int(d * ratio) + 6 * d**2
    return len(network.blocks) * block + (n + network.noisy_tokens) * network.patches.size * d + 2 * d**2


DIT_PRESETS: dict[str, dict[str, Any]] = {
    # The cost of a forward pass is that of the RIN of the same name, to half a percent.
    "dit_quickstart": {"width": 96, "depth": 9, "heads": 4, "mlp_ratio": 4, "num_classes": 9},
    "dit_emoji32": {"width": 144, "depth": 9, "heads": 6, "mlp_ratio": 4, "num_classes": 9},
    "dit_sprites": {
        "width": 80,
        "depth": 4,
        "heads": 4,
        "mlp_ratio": 4,
        "frames": 16,
        "temporal_patch": 2,
        "context_frames": 2,
    },
}

register(DiT, DIT_PRESETS, __name__)
