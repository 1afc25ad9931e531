"""J&F on the held-out sprites: learnt features, the same with adaptation, untrained ones, raw pixels, and no motion.

    python benchmarks/crw_sprites.py --config configs/crw/quickstart.yaml --checkpoints seed0.ckpt seed1.ckpt seed2.ckpt

Every candidate sees the same sequences with the same settings of propagation. With several checkpoints, one for each
seed, the table gives means and the range. `--strip picture.png` draws a sequence by the first checkpoint.
"""

import lightning_binding  # noqa: F401  # isort: skip  (before anything imports torchvision)

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import yaml
from suite.setting import commit
from torch import Tensor

from lightning_binding.crw.adaptation import Adaptation
from lightning_binding.crw.module import ContrastiveRandomWalk
from lightning_binding.crw.segment import segment
from lightning_binding.data import MovingSpritesDataModule
from lightning_binding.images import make_grid, save_png
from lightning_binding.masks import overlay
from lightning_binding.metrics import JaccardBoundary

Predict = Callable[[dict[str, Any]], Tensor]


def score(predict: Predict, sequences: list[dict[str, Any]]) -> tuple[float, float]:
    """J&F over sequences, and seconds a frame."""
    metric, start = JaccardBoundary(), time.perf_counter()
    for sequence in sequences:
        metric.update(predict(sequence), sequence["mask"], sequence["name"])
    seconds = (time.perf_counter() - start) / sum(len(sequence["video"]) for sequence in sequences)
    return float(metric.compute()["J&F-Mean"]), seconds


def propagated(module: ContrastiveRandomWalk) -> Predict:
    """Masks by a module's features."""
    return lambda sequence: module.predict_step(sequence, 0)["mask"]


def by_pixels(stride: int, module: ContrastiveRandomWalk) -> Predict:
    """Masks by raw pixels, with the module's settings of propagation."""
    pixels = ContrastiveRandomWalk("pixels", backbone_options={"patch_size": stride}, stride=None, head_depth=-1)

    def predict(sequence: dict[str, Any]) -> Tensor:
        return torch.stack(list(segment(sequence["video"], sequence["mask"][0], pixels.encode, module.propagation)))

    return predict


def unmoved(sequence: dict[str, Any]) -> Tensor:
    """The first mask, in every frame."""
    return sequence["mask"][:1].expand_as(sequence["mask"])


def untrained(module: ContrastiveRandomWalk, seed: int) -> ContrastiveRandomWalk:
    """The same network with weights as a new one has them."""
    torch.manual_seed(seed)
    arguments = {key: value for key, value in module.hparams.items() if not key.startswith("_")}
    for name in ("nodes", "optimizer", "scheduler", "adaptation"):
        arguments.pop(name, None)
    return ContrastiveRandomWalk(**arguments | ContrastiveRandomWalk.sources)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, required=True, help="recipe whose data is held out")
    parser.add_argument("--checkpoints", type=Path, nargs="+", required=True, help="one for each seed")
    parser.add_argument("--adaptation", type=json.loads, default={}, help="arguments of Adaptation, as JSON")
    parser.add_argument("--sequences", type=int, default=None, help="number of sequences; the recipe's if not given")
    parser.add_argument("--out", type=Path, default=None, help="JSON file to write")
    parser.add_argument("--strip", type=Path, default=None, help="picture to write")
    parser.add_argument("--strip_sequence", type=int, default=0, help="sequence that the picture shows")
    options = parser.parse_args()
    arguments = yaml.safe_load(options.config.read_text())["data"]["init_args"] | {"seed": 0}
    if options.sequences is not None:
        arguments["eval_sequences"] = options.sequences
    data = MovingSpritesDataModule(**arguments).eval_set()
    sequences: list[dict[str, Any]] = [dict(data[index]) for index in range(len(data))]
    rows: dict[str, list[tuple[float, float]]] = {}
    for seed, path in enumerate(options.checkpoints):
        module = ContrastiveRandomWalk.from_checkpoint(path)
        candidates: dict[str, Predict] = {
            "learnt": propagated(module),
            "untrained": propagated(untrained(module, seed)),
        }
        if seed == 0:
            candidates["raw pixels"] = by_pixels(module.backbone.stride, module)
            candidates["first mask, unmoved"] = unmoved
            if options.strip:
                draw(options.strip, sequences[options.strip_sequence], candidates)
        for name, predict in candidates.items():
            rows.setdefault(name, []).append(score(predict, sequences))
        module.adaptation = Adaptation(**options.adaptation)
        rows.setdefault("learnt, with adaptation", []).append(score(propagated(module), sequences))
    print(f"| features | J&F, mean of {len(options.checkpoints)} | range | ms a frame |\n| --- | --- | --- | --- |")
    for name, found in rows.items():
        values, seconds = zip(*found, strict=True)
        mean, cost = sum(values) / len(values), 1e3 * sum(seconds) / len(seconds)
        print(f"| {name} | {mean:.3f} | {min(values):.3f} to {max(values):.3f} | {cost:.0f} |")
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        described = {"config": str(options.config), "sequences": len(sequences), "adaptation": options.adaptation}
        options.out.write_text(
            json.dumps({"commit": commit(), **described, "j_and_f, seconds a frame": rows}, indent=1) + "\n"
        )


def draw(path: Path, sequence: dict[str, Any], candidates: dict[str, Predict], frames: int = 8) -> None:
    """A strip: the true masks, then those of the learnt and of the untrained features."""
    every = max(1, (len(sequence["video"]) - 1) // (frames - 1))
    masks = [sequence["mask"], candidates["learnt"](sequence), candidates["untrained"](sequence)]
    pictures = [
        overlay(*pair) for each in masks for pair in zip(sequence["video"][::every], each[::every], strict=True)
    ]
    save_png(make_grid(torch.stack(pictures), len(pictures) // 3), path)


if __name__ == "__main__":
    main()
