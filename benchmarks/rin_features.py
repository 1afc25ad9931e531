"""J&F on the held-out sprites: the tokens and the latents of a RIN, beside CRW's features, untrained ones, and pixels.

    python benchmarks/rin_features.py --config configs/crw/quickstart.yaml

The RIN was trained to draw emoji, on single pictures of 32 pixels, and has seen neither these emoji nor a video; frames
are as CRW's recipe has them, and its positions are resampled. Every candidate sees the same sequences with the same
settings of propagation, on a grid of the same stride. `blocks.b` are interface tokens after block b, `write.b` rows of
the write attention: the share of each latent in what is written to a patch. All layers are shown; none is chosen.
`--weights` takes another RIN's checkpoint.
"""

import lightning_binding  # noqa: F401  # isort: skip  (before anything imports torchvision)

import argparse
import json
from pathlib import Path
from typing import Any, cast

import torch
import yaml
from crw_sprites import Predict, by_pixels, propagated, score, unmoved, untrained
from suite.setting import commit

from lightning_binding.crw.module import ContrastiveRandomWalk
from lightning_binding.data import MovingSpritesDataModule
from lightning_binding.pretrained import load_pretrained


def of_rin(options: argparse.Namespace, settings: dict[str, Any], layer: str, trained: bool) -> Predict:
    """Masks by a layer of the RIN."""
    torch.manual_seed(0)
    weights = {"weights": options.weights} if options.weights else {"pretrained": True}
    module = ContrastiveRandomWalk(
        options.network,
        layer=layer,
        stride=None,
        head_depth=-1,
        backbone_options={"gamma": options.gamma, "passes": options.passes},
        propagation_options=settings,
        **weights if trained else {},
    )
    return propagated(module)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, required=True, help="recipe of CRW, whose data is held out")
    parser.add_argument("--network", default="rin_emoji32", help="preset of the RIN")
    parser.add_argument("--weights", default=None, help="its checkpoint; those that ship if not given")
    parser.add_argument("--gamma", type=float, default=1.0, help="signal level that frames are shown at")
    parser.add_argument("--passes", type=int, default=1, help="evaluations, each warm-started by the one before")
    parser.add_argument("--layers", nargs="+", default=None, help="layers of the RIN; all if not given")
    parser.add_argument("--sequences", type=int, default=None, help="number of sequences; the recipe's if not given")
    parser.add_argument("--out", type=Path, default=None, help="JSON file to write")
    options = parser.parse_args()
    recipe = yaml.safe_load(options.config.read_text())
    arguments = recipe["data"]["init_args"] | {"seed": 0}
    if options.sequences is not None:
        arguments["eval_sequences"] = options.sequences
    data = MovingSpritesDataModule(**arguments).eval_set()
    sequences: list[dict[str, Any]] = [dict(data[index]) for index in range(len(data))]
    settings = recipe["model"]["init_args"]["propagation_options"]

    walk = cast(ContrastiveRandomWalk, load_pretrained("crw_sprites"))
    candidates: dict[str, Predict] = {
        "first mask, unmoved": unmoved,
        "raw pixels": by_pixels(4, walk),
        "CRW, untrained": propagated(untrained(walk, 0)),
        "CRW (crw_sprites)": propagated(walk),
    }
    whole = ContrastiveRandomWalk(options.network, stride=None, head_depth=-1)
    for layer in options.layers or whole.backbone.layers:
        candidates[f"RIN, {layer}"] = of_rin(options, settings, layer, trained=True)
        candidates[f"RIN, {layer}, untrained"] = of_rin(options, settings, layer, trained=False)
    rows = {}
    print("| features | J&F |\n| --- | --- |", flush=True)
    for name, predict in candidates.items():
        rows[name] = score(predict, sequences)[0]
        print(f"| {name} | {rows[name]:.3f} |", flush=True)
    if options.out:
        described = {
            key: value if value is None else str(value) for key, value in vars(options).items() if key != "out"
        }
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps({"commit": commit(), **described, "j_and_f": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
