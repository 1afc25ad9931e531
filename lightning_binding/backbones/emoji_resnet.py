"""A small ResNet trained to tell the categories of the embedded emoji apart: features without a download.

It is the extractor of the Fréchet distance in the quickstart, and a classifier of generated emoji. Distances between
its features are its own: they are named `frechet_emoji_resnet` in logs, and are no FID. `scripts/train_emoji_resnet.py`
made the weights.
"""

from pathlib import Path
from typing import Any

from timm.models import build_model_with_cfg, register_model
from timm.models.resnet import BasicBlock, ResNet

WEIGHTS = Path(__file__).parent / "weights" / "emoji_resnet.safetensors"


@register_model
def emoji_resnet(pretrained: bool = False, **options: Any) -> ResNet:
    """ResNet-10 of width 16 to 128 at 32 pixels with nine classes, 0.3 M parameters; features (N, 128).

    Args:
        pretrained: Load the weights that the package ships.
        **options: Arguments of `timm.models.resnet.ResNet`.
    """
    architecture: dict[str, Any] = {
        "block": BasicBlock,
        "layers": (1, 1, 1, 1),
        "channels": (16, 32, 64, 128),
        "stem_width": 16,
        "stem_type": "deep",
        "num_classes": 9,
    }
    configuration = {
        "file": str(WEIGHTS),
        "num_classes": 9,
        "input_size": (3, 32, 32),
        "pool_size": (1, 1),
        "mean": (0.5, 0.5, 0.5),
        "std": (0.5, 0.5, 0.5),
        "interpolation": "bicubic",
        "crop_pct": 1.0,
        "first_conv": "conv1.0",
        "classifier": "fc",
        "custom_load": False,
    }
    options = {key: value for key, value in options.items() if not key.startswith("pretrained_cfg")}
    network: ResNet = build_model_with_cfg(
        ResNet, "emoji_resnet", pretrained, pretrained_cfg=configuration, **architecture | options
    )
    return network
