"""The joint models: category given picture against a classifier of the same network, mask given frame, and back.

    python benchmarks/rin_joint.py --emoji runs/joint_emoji/version_0/checkpoints/last.ckpt \
        --sprites runs/joint_sprites/version_0/checkpoints/last.ckpt --out benchmarks/results/rin_joint.json

Every number is printed and written as soon as it is there, the classifier's first; `--device cuda` takes a GPU. The
classifier is the joint network with a readout of the category alone, trained on the same pictures with
cross-entropy: the picture clean, the bits of the category noise, so it has the same parameters and sees as much.
`emoji_resnet`, which ships, judges what is drawn.
"""

import lightning_binding  # noqa: F401  # isort: skip  (before anything imports torchvision)

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import timm
import torch
from machine import machine
from torch import Tensor
from torch.nn import functional as F
from tqdm import trange

from lightning_binding.data import EmojiDataModule, MovingSpritesDataModule
from lightning_binding.metrics import FrechetDistance, JaccardBoundary
from lightning_binding.metrics.extractors import TimmExtractor
from lightning_binding.optim import Muon, WarmupCosine
from lightning_binding.rin.joint_diffusion import RINJoint


def accuracy(found: Tensor, truth: Tensor) -> float:
    """Share of equal classes."""
    return float((found == truth).float().mean())


def logits(model: RINJoint, images: Tensor, draws: torch.Generator) -> Tensor:
    """The bits that the network answers to a clean picture and noise, (B, classes)."""
    picture, category = model.modalities
    noise = torch.randn(len(images), category.shape.channels, 1, 1, generator=draws).to(images.device)
    x = [picture.encode(images), noise]
    gamma = torch.tensor([1.0, 0.0], device=images.device).expand(len(images), 2)
    predictions = model.network(x, gamma).predictions
    return predictions[1][:, :, 0, 0].float()


def classifier(model: RINJoint, data: EmojiDataModule, steps: int, precision: torch.dtype) -> RINJoint:
    """The same network, trained to tell the category alone."""
    torch.manual_seed(0)
    fresh = RINJoint(model.modalities, dict(model.hparams["network_options"])).to(model.device)
    place = model.device
    optimizer = Muon(fresh.parameters(), lr=4e-3, weight_decay=0.01, nesterov=True, betas=(0.9, 0.99))
    schedule, draws = WarmupCosine(optimizer, steps, 100), torch.Generator().manual_seed(0)
    loader = data.train_dataloader()
    batches, epoch = iter(loader), 0
    for _ in trange(steps, desc="classifier"):
        try:
            batch = next(batches)
        except StopIteration:
            epoch += 1
            loader.sampler.set_epoch(epoch)  # type: ignore[union-attr]
            batches = iter(loader)
            batch = next(batches)
        with torch.autocast(place.type, precision, enabled=precision != torch.float32):
            loss = F.cross_entropy(logits(fresh, batch["image"].to(place), draws), batch["label"].to(place))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(fresh.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    return fresh.eval()


@torch.no_grad()
def emoji(model: RINJoint, data: EmojiDataModule, other: RINJoint | None) -> Iterator[tuple[str, float]]:
    """Numbers of pictures and categories, one after another."""
    batches, place = list(data.val_dataloader()), model.device
    image, label = (torch.cat([batch[key] for batch in batches]).to(place) for key in ("image", "label"))
    draws = torch.Generator().manual_seed(0)
    judge = timm.create_model("emoji_resnet", pretrained=True).eval().to(place)

    def judged(pictures: Tensor) -> Tensor:
        return torch.cat([judge(part.float() / 127.5 - 1).argmax(1) for part in pictures.split(256)])

    if other is not None:
        yield "classifier of the same network", accuracy(logits(other, image, draws).argmax(1), label)
    yield "largest class", float(label.bincount().max()) / len(label)
    yield "emoji_resnet", accuracy(judged(image), label)
    draws = torch.Generator(place).manual_seed(0)
    given = {"image": image}
    mean = model.sample(len(image), ["label"], given, steps=1, generator=draws)["label"]
    yield "category given picture, mean of the posterior", accuracy(mean, label)
    votes = [model.sample(len(image), ["label"], given, steps=25, generator=draws)["label"] for _ in range(8)]
    yield "category given picture, one sample", accuracy(votes[0], label)
    yield "category given picture, most of 8 samples", accuracy(torch.stack(votes).mode(0).values, label)
    wanted = torch.arange(360, device=place) % 9
    drawn = model.sample(360, ["image"], {"label": wanted}, generator=draws)["image"]
    yield "judged class of pictures given a category", accuracy(judged(drawn), wanted)
    joint = model.sample(360, generator=draws)
    yield "judged class of joint samples", accuracy(judged(joint["image"]), joint["label"])
    alone = model.sample(360, ["image"], generator=draws)["image"]
    reference = torch.cat([batch["image"] for batch in data.reference_dataloader()])
    for name, pictures in {"given a category": drawn, "joint": joint["image"], "alone": alone}.items():
        metric = FrechetDistance(TimmExtractor("emoji_resnet"))
        for part, real in ((reference, True), (pictures.cpu(), False)):
            for some in part.split(256):
                metric.update(some, real=real)
        yield f"Fréchet distance (emoji_resnet, 360 pictures), {name}", float(metric.compute())
    shares = joint["label"].cpu().bincount(minlength=9) / 360
    train = torch.cat([batch["label"] for batch in data.reference_dataloader()]).bincount(minlength=9).float()
    distance = float((shares - train / train.sum()).abs().sum() / 2)
    yield "total variation of joint categories to the data", distance


@torch.no_grad()
def sprites(model: RINJoint, data: MovingSpritesDataModule) -> Iterator[tuple[str, float]]:
    """Numbers of frames and masks, one after another."""
    draws = torch.Generator(model.device).manual_seed(0)
    for steps in (1, 25):
        metric = JaccardBoundary()
        for index in range(data.eval_sequences):
            sequence = data.eval_set()[index]
            given = {"video": sequence["video"]}
            masks = model.sample(len(sequence["video"]), ["mask"], given, steps=steps, generator=draws)["mask"].cpu()
            truth = (sequence["mask"] > 0).to(torch.uint8)
            for frame, (one, two) in enumerate(zip(masks, truth, strict=True)):  # each frame for itself
                metric.update(one.expand(3, -1, -1), two.expand(3, -1, -1), f"{index:04d}-{frame}")
        for key, value in metric.compute().items():
            if key in ("J&F-Mean", "J-Mean", "F-Mean"):
                yield f"{key} of the mask given the frame, {steps} step(s)", float(value)
    masks = torch.cat(
        [(data.eval_set()[index]["mask"][:1] > 0).to(torch.uint8) for index in range(data.eval_sequences)]
    ).to(model.device)
    frames = model.sample(len(masks), ["video"], {"mask": masks}, generator=draws)["video"]
    again = model.sample(len(masks), ["mask"], {"video": frames}, steps=1, generator=draws)["mask"]
    both = model.sample(len(masks), generator=draws)
    told = model.sample(len(masks), ["mask"], {"video": both["video"]}, steps=1, generator=draws)["mask"]
    agreement = model.modalities[1].agreement
    yield "IoU of mask, frame given it, and mask given that", float(agreement(again, masks).mean())  # type: ignore[union-attr]
    yield "IoU of joint masks with masks given joint frames", float(agreement(both["mask"], told).mean())  # type: ignore[union-attr]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--emoji", type=Path, help="checkpoint of configs/rin/joint_emoji.yaml")
    parser.add_argument("--sprites", type=Path, help="checkpoint of configs/rin/joint_sprites.yaml")
    parser.add_argument("--classifier_steps", type=int, default=3000, help="0 trains no classifier")
    parser.add_argument("--bf16", action="store_true", help="train the classifier in bfloat16, as the recipes do")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    options = parser.parse_args()
    result: dict[str, Any] = {
        "machine": machine(torch.get_num_threads()),
        "classifier_steps": options.classifier_steps,
    }

    def tell(part: str, numbers: Iterator[tuple[str, float]]) -> None:
        result[part] = {}
        for what, value in numbers:
            print(f"| {what} | {value:.3f} |", flush=True)
            result[part][what] = value
            if options.out:
                options.out.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")

    if options.emoji:
        model = RINJoint.from_checkpoint(options.emoji).to(options.device)
        data = EmojiDataModule(image_size=32, batch_size=32, eval_batch_size=128, skin_tones=False)
        precision = torch.bfloat16 if options.bf16 else torch.float32
        other = classifier(model, data, options.classifier_steps, precision) if options.classifier_steps else None
        tell("emoji", emoji(model, data, other))
    if options.sprites:
        model = RINJoint.from_checkpoint(options.sprites).to(options.device)
        held_out = MovingSpritesDataModule(
            frame_size=32,
            frames=1,
            eval_sequences=64,
            eval_frames=4,
            sprites=(1, 2),
            sprite_size=(0.3, 0.5),
            skin_tones=False,
        )
        tell("sprites", sprites(model, held_out))


if __name__ == "__main__":
    main()
