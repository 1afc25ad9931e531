"""A RIN as a feature extractor: what its interface knows of every patch, and which latents write to it.

`create_backbone("rin_emoji32", pretrained=True, layer="blocks.2")` makes one, so that any method that takes a backbone
by name takes these features too. Layers are, for each block b,

* `write.b`: the share of each latent in what is written to a token, the write attention averaged over heads: m channels
  that sum to 1, a soft assignment of patches to latents;
* `blocks.b`: the interface tokens after the block, d channels.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lightning_binding.errors import InputError
from lightning_binding.rin.core import Block
from lightning_binding.rin.network import RIN
from lightning_binding.rin.presets import PRESETS
from lightning_binding.weights import load_weights


class RINFeatures(nn.Module):
    """Pictures to the tokens of a RIN, at one level of noise, in the terms of timm's models.

    Pictures may be of another size than the network's: its positions are resampled, as those of vision transformers
    are. The network of a video sees a clip that stands still, and the tokens are those of its first noisy frames.

    Args:
        network: The RIN.
        gamma: Signal level in [0, 1] that pictures are shown at: x_t = sqrt(gamma) x_0 + sqrt(1 - gamma) eps.
        noise: Add the noise, the same for every picture; False shows sqrt(gamma) x_0 alone.
        passes: Evaluations, each given the latents of the one before, as in sampling.
        seed: Seed of the noise.

    Raises:
        InputError: If `gamma` is no share, or there is no evaluation.
    """

    def __init__(self, network: RIN, gamma: float = 1.0, noise: bool = True, passes: int = 1, seed: int = 0) -> None:
        super().__init__()
        if not 0 <= gamma <= 1:
            raise InputError(f"gamma={gamma} must lie in [0, 1]: it is the share of the signal, 1 is no noise.")
        if passes < 1:
            raise InputError(f"passes={passes} must be 1 or more.")
        self.network, self.gamma, self.noise, self.passes, self.seed = network, gamma, noise, passes, seed
        patch = network.patches.spatial
        self.feature_info: list[dict[str, Any]] = []
        for index, block in enumerate(self._blocks()):
            if block.write is not None:
                self.feature_info.append({"module": f"write.{index}", "num_chs": network.num_latents})
            self.feature_info.append({"module": f"blocks.{index}", "num_chs": network.interface_dim})
        for each in self.feature_info:
            each["reduction"] = patch
        self.pretrained_cfg = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}  # x_0 in [-1, 1]

    @property
    def patch_embed(self) -> nn.Module:
        """What cuts pictures into patches, by timm's name for it."""
        return self.network.stem

    def _blocks(self) -> list[Block]:
        return [cast(Block, block) for block in self.network.blocks]

    def prune_intermediate_layers(self, indices: Sequence[int], **options: Any) -> list[int]:
        """Cuts off the blocks behind the last of the layers."""
        last = int(self.feature_info[max(indices)]["module"].split(".")[1])
        self.network.blocks = self.network.blocks[: last + 1]
        return list(indices)

    def forward_intermediates(
        self, images: Tensor, indices: Sequence[int], norm: bool = False, **options: Any
    ) -> list[Tensor]:
        """Maps of features of pictures (B, 3, H, W) in [-1, 1], (B, channels, H / patch, W / patch) for each index.

        Args:
            images: Pictures.
            indices: Places in `feature_info`.
            norm: Apply the readout's norm to interface tokens.
            **options: What else timm gives has no meaning here.
        """
        names = [str(self.feature_info[index]["module"]) for index in indices]
        grid = [side // self.network.patches.spatial for side in images.shape[-2:]]
        images = images[..., : grid[0] * self.network.patches.spatial, : grid[1] * self.network.patches.spatial]
        found = self._tokens(images, names, grid)
        maps = []
        for name in names:
            tokens = found[name][:, : grid[0] * grid[1]]  # of the first noisy frames
            tokens = self.network.readout_norm(tokens) if norm and name.startswith("blocks") else tokens
            maps.append(tokens.transpose(1, 2).unflatten(2, grid).contiguous())
        return maps

    def _tokens(self, images: Tensor, names: Sequence[str], grid: Sequence[int]) -> dict[str, Tensor]:
        """Tokens (B, n, .) of each layer that is named."""
        network, found = self.network, {}
        interface, gamma = self._interface(images, grid), images.new_full((len(images),), self.gamma)
        last = max(int(name.split(".")[1]) for name in names)
        latents = None
        for step in range(self.passes):
            final = step == self.passes - 1
            z, x = network.condition(gamma, None, latents), interface
            for index, block in enumerate(self._blocks()):
                if final and f"write.{index}" in names:
                    z, x, found[f"write.{index}"] = _written(block, z, x)
                else:
                    z, x = block(z, x)
                if final and f"blocks.{index}" in names:
                    found[f"blocks.{index}"] = x
                if final and index == last:
                    break
            latents = z
        return found

    def _interface(self, images: Tensor, grid: Sequence[int]) -> Tensor:
        """Interface tokens of the noisy pictures, with positions resampled to their size."""
        network = self.network
        generator = torch.Generator().manual_seed(self.seed)
        noisy_frames = network.frames - network.context_frames
        clips = images[:, None].expand(-1, network.frames, -1, -1, -1)
        noisy = self.gamma**0.5 * clips[:, :noisy_frames]
        if self.noise:
            eps = torch.randn(noisy.shape[1:], generator=generator).to(images)
            noisy = noisy + (1 - self.gamma) ** 0.5 * eps
        rows = network.patches.clip_rows(noisy, clips[:, noisy_frames:] if network.context_frames else None)
        tokens: Tensor = network.stem_norm(network.stem(rows)) + self._positions(grid)
        return tokens

    def _positions(self, grid: Sequence[int]) -> Tensor:
        """The interface's positions at another size, (n, d)."""
        positions, side = self.network.interface_position, self.network.image_size // self.network.patches.spatial
        if list(grid) == [side, side]:
            return positions
        maps = positions.view(-1, side, side, positions.shape[1]).movedim(3, 1)
        maps = F.interpolate(maps, size=list(grid), mode="bicubic", align_corners=False)
        return maps.movedim(1, 3).reshape(-1, positions.shape[1])


def _written(block: Block, latents: Tensor, interface: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """A block, and the attention of its write averaged over heads, (B, n, m)."""
    assert block.write is not None
    attention = block.write.attention
    attention.recorded = []
    try:
        latents, interface = block(latents, interface)
        return latents, interface, attention.recorded[-1].mean(dim=1)
    finally:
        attention.recorded = None


def create_features(
    variant: str, pretrained: bool = False, weights: str | Path | None = None, **options: Any
) -> RINFeatures:
    """The features of a preset, for `create_backbone`.

    Args:
        variant: Name of the preset.
        pretrained: Load the weights that the package ships.
        weights: Checkpoint or safetensors file to load.
        **options: `gamma`, `noise`, `passes` and `seed` of `RINFeatures`; all others are of the network.
    """
    own = {name: options.pop(name) for name in ("gamma", "noise", "passes", "seed") if name in options}
    network: Any = timm.create_model(variant, pretrained=pretrained, **options)
    if weights is not None:
        load_weights(network, weights)
    return RINFeatures(network, **own)


def _offer(variant: str) -> None:
    """Tells `create_backbone` how the preset gives features."""

    def features(**options: Any) -> RINFeatures:
        return create_features(variant, **options)

    cast(Any, timm.model_entrypoint(variant)).features = features


for _variant in PRESETS:
    _offer(_variant)
