"""Data modules of shards: those of folders, but for where the encoded bytes come from and in which order."""

from __future__ import annotations

import functools
from typing import Any

from lightning_binding.data.folder import ImageFolderDataModule
from lightning_binding.data.loader import TrainLoader, read_ahead, train_loader
from lightning_binding.data.shards.items import ShardItems, ShardVideos
from lightning_binding.data.shards.reading import Reading, check_kind, place
from lightning_binding.data.source import Source
from lightning_binding.data.video_folder import VideoFolderDataModule


class ShardedImageDataModule(ImageFolderDataModule):
    """Pictures in shards, which `lightning-binding shard` writes: the batches are those of `ImageFolderDataModule`.

    Held out is what was held out when the folder was converted. The order is shuffled chunk by chunk
    (`lightning_binding.data.shards.order`).

    Args:
        root: The folder with `train` and `val` in it, or its address on an HTTP server.
        reading: How shards are read.

    Raises:
        InputError: Wrong options; on set-up: no shards of images there.
    """

    def __init__(self, root: str, reading: Reading = Reading(), **options: Any) -> None:  # noqa: B008  (frozen)
        super().__init__(root, val_root=None, held_out_share=0.0, unlabelled=False, **options)
        self.root = place(root)
        self.reading = reading

    @functools.cached_property
    def sides(self) -> tuple[ShardItems, ShardItems]:
        """Training and held-out images."""
        train, val = (ShardItems(self.reading.store(f"{self.root}/{side}")) for side in ("train", "val"))
        check_kind(train.index, "image", self.root)
        return train, val

    @functools.cached_property
    def class_names(self) -> list[str]:
        """The folders of the classes, sorted; empty where images have none."""
        return list(self.sides[0].index.class_names)

    def train_dataloader(self) -> TrainLoader:
        """Shuffled batches; the last incomplete one is left out where there are others."""
        data = self.train_set()
        ahead = read_ahead(self.batch_size, self.num_workers)
        sampler = self.reading.sampler(data, self.sides[0], self.seed, 1, self.trainer, ahead)
        return train_loader(data, self.batch_size, self.num_workers, self.seed, self.trainer, sampler)


class ShardedVideoDataModule(VideoFolderDataModule):
    """Clips of videos in shards, which `lightning-binding shard` writes: those of `VideoFolderDataModule`.

    Args:
        root: The folder with `train` in it, and `val` for `eval_clips`; or its address on an HTTP server.
        reading: How shards are read.

    Raises:
        InputError: Wrong options; on set-up: no shards of videos there, or the backend is missing.
    """

    def __init__(self, root: str, reading: Reading = Reading(), **options: Any) -> None:  # noqa: B008  (frozen)
        super().__init__(root, folder_fps=24.0, unlabelled=False, **options)
        self.root = place(root)
        self.reading = reading

    @functools.cached_property
    def _train(self) -> ShardVideos:
        items = ShardVideos(self.reading.store(f"{self.root}/train"))
        check_kind(items.index, "video", self.root)
        return items

    @functools.cached_property
    def found(self) -> tuple[Source, list[str]]:
        """The videos of training and the names of their classes."""
        return self._train, list(self._train.index.class_names)

    def held_out(self) -> Source:
        """The videos of validation."""
        return ShardVideos(self.reading.store(f"{self.root}/val"))

    def train_dataloader(self) -> TrainLoader:
        """Shuffled batches of clips; the last incomplete one is left out where there are others."""
        data = self.train_set()
        ahead = read_ahead(self.batch_size, self.num_workers)
        sampler = self.reading.sampler(data, self._train, self.seed, self.clips_per_video, self.trainer, ahead)
        return train_loader(data, self.batch_size, self.num_workers, self.seed, self.trainer, sampler)
