"""Finding videos: files and folders of frames, in class folders, in a flat folder, or in a list. None is opened."""

from __future__ import annotations

import os
from itertools import islice

import numpy as np

from lightning_binding.data.scan import Files, class_folders
from lightning_binding.errors import InputError
from lightning_binding.video.folder import is_frame

ENDINGS = (".mp4", ".webm", ".mkv", ".avi", ".mov", ".m4v")
LOOKED_AT = 64  # entries of a folder that tell what it is; one may hold thousands of frames, on a slow disk


def is_video(name: str) -> bool:
    """Whether a file counts as a video, by its name."""
    return name.lower().endswith(ENDINGS) and not name.startswith(".")


def holds_frames(folder: str) -> bool:
    """Whether a folder is a video: there are pictures among its first entries, and neither videos nor folders."""
    with os.scandir(folder) as entries:
        first = [entry for entry in islice(entries, LOOKED_AT) if not entry.name.startswith(".")]
    other = any(is_video(entry.name) or entry.is_dir() for entry in first)
    return not other and any(is_frame(entry.name) for entry in first)


def videos_under(folder: str) -> list[str]:
    """Sorted paths, relative to `folder`, of the videos in it and in folders below it, hidden ones left out."""
    if holds_frames(folder):
        return ["."]
    found = []
    for place, folders, names in os.walk(folder, followlinks=True):
        relative = os.path.relpath(place, folder)
        known = sorted(name for name in folders if not name.startswith("."))
        frames = {name for name in known if holds_frames(os.path.join(place, name))}
        folders[:] = [name for name in known if name not in frames]
        found += [os.path.normpath(os.path.join(relative, name)) for name in [*filter(is_video, names), *frames]]
    return sorted(found)


def scan_videos(root: str, unlabelled: bool = False) -> tuple[Files, list[str]]:
    """Finds the videos of a folder or a list.

    Args:
        root: A folder, of which the folder `train` is taken if there is one; a single video; or a text file, see
            `read_list`.
        unlabelled: Take all videos at any depth as of no class.

    Returns:
        The videos, with label -1 where there are no classes, and the names of the classes.

    Raises:
        InputError: No such folder, no videos, or videos beside class folders.
    """
    if os.path.isfile(root):
        folder, name = os.path.split(root)
        return Files(folder, np.array([os.fsencode(name)]), np.array([-1])) if is_video(name) else read_list(root), []
    if "train" in (folders := class_folders(root)):
        root = os.path.join(root, "train")
        folders = class_folders(root)
    classes = [] if unlabelled else [name for name in folders if not holds_frames(os.path.join(root, name))]
    if not classes:
        found = videos_under(root)
        labels = [-1] * len(found)
    else:
        with os.scandir(root) as entries:
            loose = sorted(entry.name for entry in entries if is_video(entry.name))
        loose += [name for name in folders if name not in classes]
        if loose:
            raise InputError(
                f"{root} holds videos ({loose[0]}, …) beside folders ({classes[0]}, …): move the videos into class "
                f"folders, or set unlabelled: true to take all of them without classes."
            )
        found, labels = [], []
        for label, name in enumerate(classes):
            videos = videos_under(os.path.join(root, name))
            found += [os.path.join(name, video) for video in videos]
            labels += [label] * len(videos)
    if not found:
        raise InputError(
            f"There are no videos under {root}; looked for are files in {', '.join(ENDINGS)} and folders of frames."
        )
    return Files(root, np.array([os.fsencode(name) for name in found]), np.array(labels, np.int64)), classes


def read_list(path: str, what: str = "videos", numbered: bool = True) -> Files:
    """Reads a list of videos: a path on each line, or, as in CRW's code, a folder of frames and their number.

    Paths are relative to the list. Empty lines and those that begin with # are left out; numbers of frames are not
    needed.

    Args:
        path: Of the list.
        what: What it lists, in messages.
        numbered: Whether a number at the end of a line is one of frames, and no part of the path.

    Raises:
        InputError: It is no text, or lists nothing.
    """
    folder = os.path.dirname(os.path.abspath(path))
    try:
        with open(path, encoding="utf-8") as file:
            lines = [line.strip() for line in file]
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path} is no list of {what}; root must be a folder, a video, or a text file with a path on each line."
        ) from error
    found = [
        os.path.join(folder, _path(line) if numbered else line) for line in lines if line and not line.startswith("#")
    ]
    if not found:
        raise InputError(f"{path} lists no {what}; expected are lines with a path each.")
    root = os.path.commonpath([os.path.dirname(video) for video in found])
    names = np.array([os.fsencode(os.path.relpath(video, root)) for video in found])
    return Files(root, names, np.full(len(found), -1))


def _path(line: str) -> str:
    name, _, number = line.rpartition(" ")
    return name.rstrip() if name and number.isdigit() else line
