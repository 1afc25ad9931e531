"""Lightning data modules: where images and videos come from."""

from lightning_binding.data.base import BindingDataModule
from lightning_binding.data.cifar import CIFAR10DataModule
from lightning_binding.data.davis import DAVISDataModule
from lightning_binding.data.doom_scenes import DoomScenesDataModule
from lightning_binding.data.emoji import EmojiDataModule
from lightning_binding.data.folder import ImageFolderDataModule
from lightning_binding.data.jhmdb import JHMDBDataModule
from lightning_binding.data.shards.modules import ShardedImageDataModule, ShardedVideoDataModule
from lightning_binding.data.sprites import MovingSpritesDataModule
from lightning_binding.data.video_folder import VideoFolderDataModule
from lightning_binding.data.vip import VIPDataModule

__all__ = [
    "BindingDataModule",
    "CIFAR10DataModule",
    "DAVISDataModule",
    "DoomScenesDataModule",
    "EmojiDataModule",
    "ImageFolderDataModule",
    "JHMDBDataModule",
    "MovingSpritesDataModule",
    "ShardedImageDataModule",
    "ShardedVideoDataModule",
    "VIPDataModule",
    "VideoFolderDataModule",
]
