"""Sequences with masks in folders: `<frames>/<sequence>/*.jpg` and `<masks>/<sequence>/*.png` of the same names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from lightning_binding.data.clipset import SequenceSet, VideoSequence
from lightning_binding.data.wholevideo import read_masks, read_video
from lightning_binding.errors import InputError
from lightning_binding.video.folder import frame_files


class Files(NamedTuple):
    """The files of a sequence.

    Attributes:
        name: Of the sequence.
        video: Folder of its frames.
        frame_names: Names of the frames without an ending, in order.
        masks: The masks of all of them, or of the first alone.
    """

    name: str
    video: Path
    frame_names: list[str]
    masks: list[Path]


class MaskFolders(SequenceSet):
    """Whole sequences with a mask for each frame, or for the first alone.

    Where only the first frame has a mask, as in DAVIS's test-dev, `mask` is (1, H, W): results can be written but
    not scored. The folders are looked through at once, so that what is missing is found before anything is computed.

    Args:
        frames: Folder of folders of frames.
        masks: Folder of folders of masks, which are called as the frames are.
        names: Of the sequences.
        merge: Make one object, 1, of everything that is not background.

    Raises:
        InputError: If a sequence has no frames, no masks, or masks of some frames only; on reading: files that cannot
            be read, or of different sizes.
    """

    def __init__(self, frames: Path, masks: Path, names: Sequence[str], merge: bool = False) -> None:
        self.files = [files_of(name, frames, masks) for name in names]
        self.merge = merge

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> VideoSequence:
        """Reads a sequence."""
        files = self.files[index]
        video = read_video(files.video)
        mask = read_masks(files.masks, (video.shape[2], video.shape[3]))
        return {
            "video": video,
            "mask": (mask != 0).to(mask.dtype) if self.merge else mask,
            "name": files.name,
            "frame_names": files.frame_names,
        }


def files_of(name: str, frames: Path, masks: Path) -> Files:
    """Finds the files of a sequence.

    Args:
        name: Of the sequence.
        frames: Folder of folders of frames.
        masks: Folder of folders of masks.

    Raises:
        InputError: If it has no frames, no masks, or masks of some frames only.
    """
    video, folder = frames / name, masks / name
    if not video.is_dir():
        raise InputError(f"the sequence {name} has no frames: there is no folder {video}.")
    if not folder.is_dir():
        raise InputError(f"the sequence {name} has frames but no annotations: there is no folder {folder}.")
    names = [Path(path).stem for path in frame_files(str(video))]
    found = {path.stem: path for path in sorted(folder.glob("[!.]*.png"))}
    missing = [each for each in names if each not in found]
    if extra := sorted(found.keys() - set(names)):
        raise InputError(f"the annotation {found[extra[0]]} belongs to no frame: there is no {extra[0]} in {video}.")
    if names[0] in missing:
        raise InputError(f"{folder} has no {names[0]}.png: the first frame must have an annotation.")
    if missing and len(found) > 1:
        raise InputError(
            f"{folder} has {len(found)} annotations for {len(names)} frames, {missing[0]}.png is missing: either every "
            "frame must have one, or the first frame alone."
        )
    return Files(name, video, names, [found[each] for each in names if each in found])


def read_list(path: Path, root: str) -> list[str]:
    """Names of the sequences that a list names, one a line, or by the paths of their frames as DAVIS-2016 does.

    Args:
        path: The list.
        root: The folder of the dataset as the user gave it, for the message.

    Raises:
        InputError: If there is no such list, or nothing in it.
    """
    if not path.is_file():
        others = sorted(other.stem for other in path.parent.glob("*.txt"))
        raise InputError(
            f"there is no list {path}; "
            + (f"there are {', '.join(others)} beside it." if others else f"is {root} the folder of the dataset?")
        )
    lines = [line.split()[0] for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    names = list(dict.fromkeys(Path(line).parent.name if "/" in line else line for line in lines))
    if not names:
        raise InputError(f"the list {path} names no sequence.")
    return names
