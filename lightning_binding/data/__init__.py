"""Lightning data modules: where images come from."""

from lightning_binding.data.base import BindingDataModule
from lightning_binding.data.emoji import EmojiDataModule

__all__ = ["BindingDataModule", "EmojiDataModule"]
