"""Whether latents stand for objects: patches grouped by the latent that writes most to them, against the true masks.

    python benchmarks/rin_parts.py
    python benchmarks/rin_parts.py --network rin_sprites --weights runs/…/last.ckpt

Groups are scored by the adjusted Rand index with the masks of moving sprites, pixel by pixel: over all pixels, and over
those of objects alone in pictures that show two or more ("foreground"), where the background cannot help. Beside the
strongest latent of each block stand that of an untrained network, and k-means on the positions of patches and on their
mean colours: with as many groups as the latents make, and with as many as there are objects and background, which the
latents are not told. A network of videos is shown whole clips without noise, and groups reach over time; one of images
is shown single frames.
"""

import lightning_binding  # noqa: F401  # isort: skip  (before anything imports torchvision)

import argparse
import json
from pathlib import Path
from typing import Any, cast

import numpy as np
import timm
import torch
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score
from suite.setting import commit
from torch import Tensor

from lightning_binding.data import MovingSpritesDataModule
from lightning_binding.rin.attention import record_attention
from lightning_binding.rin.network import RIN
from lightning_binding.weights import load_weights

Scores = tuple[float, float, float]


def rows(network: RIN, clips: Tensor) -> list[Tensor]:
    """Write attention of every block in clips uint8 (B, T, 3, H, W), averaged over heads: (B, t, h, w, m) each."""
    x, given, ones = clips.float() / 127.5 - 1, network.context_frames, torch.ones(len(clips))
    with torch.no_grad(), record_attention(network) as maps:
        network(x[:, given:] if network.frames > 1 else x[:, 0], ones, context=x[:, :given] if given else None)
    side = network.image_size // network.patches.spatial
    return [block.mean(dim=1)[:, : network.noisy_tokens].unflatten(1, (-1, side, side)) for block in maps.write[-1]]


def to_pixels(groups: Tensor, masks: Tensor) -> Tensor:
    """Groups (t, h, w) of patches at the size of masks (T, H, W)."""
    scale = [-(-mask // group) for mask, group in zip(masks.shape, groups.shape, strict=True)]
    for axis, factor in enumerate(scale):
        groups = groups.repeat_interleave(factor, dim=axis)
    return groups[: len(masks)]


def agreement(groups: list[Tensor], masks: Tensor) -> Scores:
    """Adjusted Rand index over all pixels, over those of objects, and the mean number of groups."""
    everywhere, foreground = [], []
    for found, mask in zip(groups, masks, strict=True):
        pair = np.stack([mask.flatten().numpy(), to_pixels(found, mask).flatten().numpy()])
        everywhere.append(adjusted_rand_score(*pair))
        objects = pair[:, pair[0] > 0]
        if len(np.unique(objects[0])) > 1:
            foreground.append(adjusted_rand_score(*objects))
    return float(np.mean(everywhere)), float(np.mean(foreground)), float(np.mean(counts(groups)))


def counts(groups: Any) -> list[int]:
    """Number of different ids in each."""
    return [len(each.unique()) for each in groups]


def k_means(features: Tensor, numbers: list[int]) -> list[Tensor]:
    """Features (B, t, h, w, d) in as many groups as `numbers` says of each clip."""
    found = []
    for each, number in zip(features, numbers, strict=True):
        points = each.reshape(-1, each.shape[-1]).numpy()
        ids = KMeans(number, n_init=3, random_state=0).fit_predict(points)
        found.append(torch.from_numpy(ids).view(each.shape[:3]))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default="rin_emoji32", help="preset of the RIN")
    parser.add_argument("--weights", default=None, help="its checkpoint; those that ship if not given")
    parser.add_argument("--sequences", type=int, default=40, help="number of held-out sequences")
    parser.add_argument("--data", type=json.loads, default={}, help="arguments of MovingSpritesDataModule, as JSON")
    parser.add_argument("--out", type=Path, default=None, help="JSON file to write")
    options = parser.parse_args()
    network = cast(RIN, timm.create_model(options.network, pretrained=options.weights is None).eval())
    if options.weights is not None:
        load_weights(network, options.weights)
    frames = max(network.frames, 1)
    data = MovingSpritesDataModule(
        network.image_size, eval_sequences=options.sequences, eval_frames=frames, **options.data
    ).eval_set()
    sequences = [data[index] for index in range(options.sequences)]
    clips = torch.stack([sequence["video"] for sequence in sequences])
    masks = torch.stack([sequence["mask"] for sequence in sequences])[:, network.context_frames :]
    table: dict[str, Scores] = {}

    patch = network.patches
    shown = clips[:, network.context_frames :].float()
    colours = patch.to_rows(shown).unflatten(2, (-1, 3)).mean(dim=2)
    grid = patch.coordinates(shown.shape[1], network.image_size, network.image_size)
    side = network.image_size // patch.spatial
    colours = colours.unflatten(1, (-1, side, side))
    positions = grid.float().view(1, *colours.shape[1:4], 3)[..., 1:].expand(len(clips), -1, -1, -1, -1)
    objects = counts(masks)
    table["k-means on positions, number of objects given"] = agreement(k_means(positions, objects), masks)
    table["k-means on colours, number of objects given"] = agreement(k_means(colours, objects), masks)
    torch.manual_seed(0)
    untrained = cast(RIN, timm.create_model(options.network).eval())
    for name, each in (("trained", network), ("untrained", untrained)):
        for block, weights in enumerate(rows(each, clips)):
            strongest = list(weights.argmax(dim=-1))
            used = counts(strongest)
            table[f"strongest latent, block {block}, {name}"] = agreement(strongest, masks)
            if name == "trained":
                table[f"k-means on positions, as many groups as block {block}"] = agreement(
                    k_means(positions, used), masks
                )
                table[f"k-means on the write attention of block {block}, number of objects given"] = agreement(
                    k_means(weights, objects), masks
                )
    print("| groups | ARI | foreground ARI | groups |\n| --- | --- | --- | --- |")
    for name, (everywhere, foreground, groups) in table.items():
        print(f"| {name} | {everywhere:.3f} | {foreground:.3f} | {groups:.1f} |")
    if options.out:
        described = {
            key: value if value is None else str(value) for key, value in vars(options).items() if key != "out"
        }
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(
            json.dumps({"commit": commit(), **described, "ari, foreground ari, groups": table}, indent=1) + "\n"
        )


if __name__ == "__main__":
    main()
