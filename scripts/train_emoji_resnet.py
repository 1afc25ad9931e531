"""Trains the classifier of the embedded emoji whose weights the package ships, and prints its held-out accuracy.

    python scripts/train_emoji_resnet.py --out lightning_binding/backbones/weights/emoji_resnet.safetensors

About five minutes on one core.
"""

import argparse
import math
from pathlib import Path

import lightning_binding  # noqa: F401  # isort: skip  (before anything imports torchvision)
import timm
import torch
import torch.nn.functional as F
from safetensors.torch import save
from torch import Tensor

from lightning_binding.data import EmojiDataModule


def shifted(images: Tensor, most: int = 3) -> Tensor:
    """Moves every image of (B, C, H, W) by up to `most` pixels; the border is repeated."""
    padded = F.pad(images, (most,) * 4, mode="replicate")
    top, left = torch.randint(2 * most + 1, (2,)).tolist()
    return padded[..., top : top + images.shape[-2], left : left + images.shape[-1]]


def scaled(images: Tensor) -> Tensor:
    """uint8 (B, 3, H, W) to [-1, 1]."""
    return images.float() / 127.5 - 1


@torch.no_grad()
def accuracy(network: torch.nn.Module, data: EmojiDataModule) -> float:
    """Share of held-out emoji whose category is found."""
    network.eval()
    right = total = 0
    for batch in data.val_dataloader():
        right += int((network(scaled(batch["image"])).argmax(dim=1) == batch["label"]).sum())
        total += len(batch["label"])
    network.train()
    return right / total


def main() -> None:
    """Trains and writes the weights."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(options.threads)
    data = EmojiDataModule(batch_size=64, skin_tones=False)
    network = timm.create_model("emoji_resnet")
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3, weight_decay=0.05)
    batches = len(data.train_dataloader())
    loader = data.train_dataloader()
    for epoch in range(options.epochs):
        for index, batch in enumerate(loader):
            done = (epoch + index / batches) / options.epochs
            optimizer.param_groups[0]["lr"] = 3e-3 * 0.5 * (1 + math.cos(math.pi * done))
            logits = network(scaled(shifted(batch["image"])))
            loss = F.cross_entropy(logits, batch["label"], label_smoothing=0.1)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        if (epoch + 1) % 10 == 0:
            print(f"epoch {epoch + 1}: loss {loss:.3f}, held-out accuracy {accuracy(network, data):.3f}", flush=True)
    weights = {
        name: value.half().contiguous() if value.is_floating_point() else value
        for name, value in network.state_dict().items()
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_bytes(save(weights))


if __name__ == "__main__":
    main()
