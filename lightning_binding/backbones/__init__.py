"""Feature extractors, all through timm's registry."""

from lightning_binding.backbones.create import Backbone, create_backbone
from lightning_binding.backbones.emoji_resnet import emoji_resnet
from lightning_binding.backbones.pixels import pixels

__all__ = ["Backbone", "create_backbone", "emoji_resnet", "pixels"]
