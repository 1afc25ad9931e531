"""Finding the images of a folder, with classes as in ImageNet's layout or without."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from lightning_binding.errors import InputError

EXTENSIONS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".ppm", ".pgm", ".tif", ".tiff")


class Files(NamedTuple):
    """Images under a root: paths relative to it, and their labels.

    Paths are one array of bytes rather than a list of strings: worker processes then share its memory, which they
    would copy little by little by counting references to a million strings.
    """

    root: str
    path: npt.NDArray[np.bytes_]
    label: npt.NDArray[np.int64]

    def full_path(self, index: int) -> str:
        """Where image `index` lies."""
        return os.path.join(self.root, os.fsdecode(bytes(self.path[index])))

    @property
    def total(self) -> int:
        """Number of images."""
        return len(self.label)

    @contextmanager
    def opened(self, index: int) -> Iterator[tuple[str, int]]:
        """The path and the label of image `index`."""
        yield self.full_path(index), int(self.label[index])

    def identity(self) -> bytes:
        """Paths and labels."""
        return self.path.tobytes() + self.label.tobytes()

    def where(self, chosen: npt.NDArray[np.bool_]) -> Files:
        """A part of the images."""
        return Files(self.root, self.path[chosen], self.label[chosen])


def class_folders(root: str) -> list[str]:
    """Sorted names of the folders in `root`, hidden ones left out.

    Raises:
        InputError: No such folder.
    """
    if not os.path.isdir(root):
        raise InputError(f"There is no folder {root}; root (or val_root) must be a folder of images.")
    with os.scandir(root) as entries:
        return sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))


def is_image(name: str) -> bool:
    """Whether a file counts as an image, by its name."""
    return name.lower().endswith(EXTENSIONS) and not name.startswith(".")


def images_in(folder: str) -> list[str]:
    """Sorted names of the images directly in `folder`."""
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if is_image(entry.name) and entry.is_file())


def images_under(folder: str) -> list[str]:
    """Sorted paths, relative to `folder`, of the images in it and in folders below it, hidden ones left out."""
    found = []
    for place, folders, names in os.walk(folder, followlinks=True):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        relative = os.path.relpath(place, folder)
        found += [os.path.normpath(os.path.join(relative, name)) for name in names if is_image(name)]
    return sorted(found)


def scan(root: str, class_names: list[str]) -> Files:
    """Find the images of a folder.

    Args:
        root: Where to look.
        class_names: The folder of each label; empty: take all images under `root`, with label -1.

    Raises:
        InputError: No images, a class without images, or a folder that is none of the classes.
    """
    known = class_folders(root)
    if not class_names:
        found, labels = images_under(root), None
    else:
        found, labels = [], []
        for name in known:
            if name not in class_names:
                raise InputError(
                    f"{root} has a folder {name!r} that is none of the {len(class_names)} classes of the training "
                    f"images ({class_names[0]!r}, …); both sides need the same class folders."
                )
        for label, name in enumerate(class_names):
            images = images_under(os.path.join(root, name)) if name in known else []
            if name in known and not images:
                raise InputError(f"The class folder {os.path.join(root, name)} has no images; fill or remove it.")
            found += [os.path.join(name, image) for image in images]
            labels += [label] * len(images)
    if not found:
        where = f"in class folders ({class_names[0]!r}, …) under" if class_names else "under"
        shards = Path(root, "index.json").is_file()
        raise InputError(
            f"There are no images {where} {root}; looked for are files in {', '.join(EXTENSIONS)}."
            f"{' These are shards, which ShardedImageDataModule reads.' * shards}"
        )
    path = np.array([os.fsencode(name) for name in found])
    return Files(root, path, np.full(len(found), -1) if labels is None else np.array(labels, np.int64))


def held_out(files: Files, share: float) -> npt.NDArray[np.bool_]:
    """Which images are held out: those whose path hashes below the share. Adding images moves no other image."""
    hashes = [int.from_bytes(hashlib.sha256(bytes(path)).digest()[:8], "big") for path in files.path]
    return np.array([value < share * 2**64 for value in hashes])
