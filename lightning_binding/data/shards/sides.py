"""What is converted: the examples of each side of a split, as the data modules of folders find them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from lightning_binding.data.decode import Decoder
from lightning_binding.data.folder import ImageFolderDataModule
from lightning_binding.data.scan import Files, held_out
from lightning_binding.data.video_scan import is_video, read_list, scan_videos
from lightning_binding.errors import InputError
from lightning_binding.video.decode import find_backend
from lightning_binding.video.guarded import GuardedDecoder

_DECODER = GuardedDecoder()  # each process that converts starts one of its own, with the first video


class Found(NamedTuple):
    """The examples of a source.

    Attributes:
        sides: `train`, and `val` where there is one.
        class_names: The name of each label; empty where there are none.
    """

    sides: dict[str, Files]
    class_names: list[str]


class Splitting(NamedTuple):
    """How images are found; see `ImageFolderDataModule`."""

    val_root: str | None
    held_out_share: float
    unlabelled: bool


def find_images(source: str, how: Splitting) -> Found:
    """The images of a folder, or of a list with a path on each line.

    Raises:
        InputError: There are none, or the layout is not clear.
    """
    if os.path.isfile(source):
        files = read_list(source, "images", numbered=False)
        out = held_out(files, how.held_out_share)
        if not out.any() or out.all():
            raise InputError(
                f"held_out_share={how.held_out_share} of the {files.total} images that {source} lists leaves one side "
                "empty; give another."
            )
        return Found({"train": files.where(~out), "val": files.where(out)}, [])
    data = ImageFolderDataModule(source, **how._asdict())
    train, val = data.sides
    assert isinstance(train, Files)
    assert isinstance(val, Files)
    return Found({"train": train, "val": val}, data.class_names)


def find_videos(source: str, how: Splitting) -> Found:
    """The videos of a folder or of a list, and of the folder `val` beside `train`, if there is one.

    Raises:
        InputError: There are none, there are folders of frames among them, or PyAV is missing.
    """
    find_backend("pyav").load()
    files, classes = scan_videos(os.path.abspath(os.path.expanduser(source)), how.unlabelled)
    sides = {"train": files}
    if os.path.isdir(val := os.path.join(source, "val")) and files.root != os.path.abspath(source):
        sides["val"], names = scan_videos(os.path.abspath(val), how.unlabelled)
        if names != classes:
            raise InputError(f"{val} has the classes {names[:3]}…, train has {classes[:3]}…; both need the same.")
    for side in sides.values():
        for index in range(side.total):
            if not is_video(name := side.full_path(index)):
                raise InputError(
                    f"{name} is a folder of frames, which is not converted: shards hold video files as they are. Make "
                    "it a video, or leave it out."
                )
    return Found(sides, classes)


def check_image(path: str) -> None:
    """Decodes an image to its end, at the smallest size. Raises what Pillow raises."""
    Decoder(1)(path)


def check_video(path: str) -> None:
    """Decodes the first frame of a video, in a process of its own. Raises an `Undecodable`."""
    _DECODER.cut(path, 0.0, 1, None)


class Kind(NamedTuple):
    """What is converted.

    Attributes:
        find: The examples of a source.
        check: Raises if the file of this path cannot be decoded.
    """

    find: Callable[[str, Splitting], Found]
    check: Callable[[str], None]


KINDS = {"image": Kind(find_images, check_image), "video": Kind(find_videos, check_video)}


def source_name(files: Files, index: int) -> str:
    """The path of an example under its root, with slashes."""
    return Path(os.fsdecode(bytes(files.path[index]))).as_posix()
