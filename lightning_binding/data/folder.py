"""Images in folders: ImageNet's layout, or any folder of pictures."""

from __future__ import annotations

import functools
import hashlib
import os

from lightning_binding.data.base import BindingDataModule
from lightning_binding.data.broken import BrokenFiles
from lightning_binding.data.decode import Decoder
from lightning_binding.data.folderset import FolderSet
from lightning_binding.data.scan import class_folders, held_out, images_in, scan
from lightning_binding.data.source import Source
from lightning_binding.errors import InputError


class ImageFolderDataModule(BindingDataModule):
    """Pictures in folders: the largest centre square of each, resized by an antialiased bicubic.

    Layouts: `root/train/<class>/…` and `root/val/<class>/…` (ImageNet's); `root/<class>/…`; or pictures without
    classes, directly in `root` or in `root/train`. Classes are numbered in the order of their names.
    Where there is no `val` folder, a share of the training images is held out by the hash of their paths.
    A picture that cannot be read costs a warning and a line in a list, not the run: the next one takes its place.

    Args:
        root: The folder.
        val_root: The folder of held-out images; None: `root/val`.
        image_size: Height and width of the images, in pixels.
        batch_size: Images in a training batch, on each device.
        eval_batch_size: Images in a batch of evaluation and reference, on each device; None: `batch_size`.
        num_workers: Processes that decode ahead.
        seed: Of the orders and flips.
        held_out_share: Share of the training images that is held out where there is no folder of held-out ones.
        unlabelled: Whether to take all pictures under `root`, at any depth, as of no class.
        horizontal_flip: Whether to mirror half of the training images.
        background: Red, green and blue in [0, 255] behind transparent pixels.
        draft: Whether JPEGs may be decoded at a reduced size of at least twice `image_size`: much faster, and hardly
            different. False decodes in full.
        exif_orientation: Whether to turn photographs upright by their EXIF data. Published protocols do not.
        max_broken: Share of the images that may be broken before the run stops. A single one is always tolerated,
            unless this is 0.
        broken_files: The file that lists broken images; None: `broken_files.txt` in the trainer's log folder, or in
            the working folder without a trainer.

    Raises:
        InputError: Wrong sizes, shares or colours; on set-up: no such folder, no images, a missing split.
    """

    def __init__(
        self,
        root: str,
        val_root: str | None = None,
        image_size: int = 64,
        batch_size: int = 128,
        eval_batch_size: int | None = None,
        num_workers: int = 4,
        seed: int = 0,
        held_out_share: float = 0.05,
        unlabelled: bool = False,
        horizontal_flip: bool = True,
        background: tuple[int, int, int] = (255, 255, 255),
        draft: bool = True,
        exif_orientation: bool = False,
        max_broken: float = 0.01,
        broken_files: str | None = None,
    ) -> None:
        super().__init__(image_size, batch_size, eval_batch_size, num_workers, seed)
        for name, share in {"held_out_share": held_out_share, "max_broken": max_broken}.items():
            if not 0 <= share < 1:
                raise InputError(f"{name} is {share}; it must be a share in [0, 1).")
        if len(background) != 3 or not all(0 <= value <= 255 for value in background):
            raise InputError(f"background is {background}; it must be three numbers in [0, 255].")
        self.root = os.path.abspath(os.path.expanduser(root))
        self.val_root = None if val_root is None else os.path.abspath(os.path.expanduser(val_root))
        self.held_out_share = held_out_share
        self.unlabelled = unlabelled
        self.horizontal_flip = horizontal_flip
        self.decoder = Decoder(image_size, background, draft, exif_orientation)
        self.max_broken = max_broken
        self.broken_files = broken_files
        self._list = broken_files or "broken_files.txt"

    def setup(self, stage: str) -> None:
        """Look for the images, so that a missing folder is found before the model is built; name the list."""
        self.sides  # noqa: B018
        if self.broken_files is None and self.trainer is not None:
            folder = self.trainer.log_dir or self.trainer.default_root_dir
            self._list = os.path.join(folder, "broken_files.txt")

    @functools.cached_property
    def train_root(self) -> str:
        """The folder of the training images: `root/train`, or `root` itself.

        Raises:
            InputError: There is a `val` folder without a `train` folder.
        """
        folders = class_folders(self.root)
        if "train" in folders:
            return os.path.join(self.root, "train")
        if "val" in folders:
            raise InputError(f"{self.root} has a folder val, but no folder train beside it; training images go there.")
        return self.root

    @functools.cached_property
    def class_names(self) -> list[str]:
        """The folders of the classes, sorted; empty where images have none.

        Raises:
            InputError: There are both folders and images, so it is not clear which are meant.
        """
        names = [] if self.unlabelled else class_folders(self.train_root)
        if names and (images := images_in(self.train_root)):
            raise InputError(
                f"{self.train_root} holds images ({images[0]}, …) beside folders ({names[0]}, …): move the images into "
                f"class folders, or set unlabelled: true to take all of them without classes."
            )
        return names

    @functools.cached_property
    def sides(self) -> tuple[Source, Source]:
        """Training and held-out images.

        Raises:
            InputError: No such folders, no images in one, or a side that would be empty.
        """
        train = scan(self.train_root, self.class_names)
        val_root = self.val_root or os.path.join(self.root, "val")
        if self.val_root is not None or (self.train_root != self.root and os.path.isdir(val_root)):
            return train, scan(val_root, self.class_names)
        out = held_out(train, self.held_out_share)
        if not out.any() or out.all():
            raise InputError(
                f"There is no folder {val_root}, and held_out_share={self.held_out_share} of the {len(out)} images "
                f"under {self.train_root} leaves one side empty; give val_root or another held_out_share."
            )
        return train.where(~out), train.where(out)

    def _set(self, files: Source, seed: int | None = None) -> FolderSet:
        total = sum(side.total for side in self.sides if side.root == files.root)
        broken = BrokenFiles(self._list, files.root, total, self.max_broken)
        return FolderSet(files, self.decoder, broken, seed, self.horizontal_flip)

    def train_set(self) -> FolderSet:
        """The training images, mirrored at random."""
        return self._set(self.sides[0], self.seed)

    def eval_set(self) -> FolderSet:
        """The held-out images."""
        return self._set(self.sides[1])

    def cache_key(self) -> str:
        """The folder, which files of it, their labels, and how they are decoded."""
        files = self.sides[0]
        content = repr(self.decoder).encode() + files.identity()
        return f"{super().cache_key()}-{hashlib.sha256(content).hexdigest()[:8]}-{files.root}"

    def reference_set(self) -> FolderSet:
        """The training images as they are."""
        return self._set(self.sides[0])
