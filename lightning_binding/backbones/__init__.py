"""Feature extractors, all through timm's registry."""

from lightning_binding.backbones.emoji_resnet import emoji_resnet

__all__ = ["emoji_resnet"]
