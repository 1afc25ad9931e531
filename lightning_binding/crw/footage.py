"""A user's video: a file, or a folder of frames with names of their own."""

from collections.abc import Iterable, Iterator
from itertools import count
from pathlib import Path

from torch import Tensor

from lightning_binding.errors import InputError
from lightning_binding.video.decode import FOLDER_FPS
from lightning_binding.video.folder import frame_files
from lightning_binding.video.reader import probe, read_frames


class Footage:
    """What is read of a video, and how its frames are called.

    Args:
        path: Of the file or the folder.
        fps: Frames a second that are taken of a file, and at which a folder plays; None takes all.
        max_frames: End after so many.

    Attributes:
        size: Height and width.
        fps: Frames a second of what is read.
        length: Number of frames, which for a file is an estimate.
        stems: Names of a folder's frames without their endings; None for a file.

    Raises:
        InputError: If the video cannot be read.
    """

    def __init__(self, path: str, fps: float | None = None, max_frames: int | None = None) -> None:
        if fps is not None and fps <= 0:
            raise InputError(f"--fps {fps} must be positive.")
        self.path, self.max_frames = path, max_frames
        self.stems = [Path(file).stem for file in frame_files(path)] if Path(path).is_dir() else None
        self.sampled = fps if self.stems is None else None
        self.folder_fps = fps or FOLDER_FPS
        info = probe(path, folder_fps=self.folder_fps)
        self.size = info.height, info.width
        self.fps = self.sampled or info.fps
        length = max(1, round(info.frames_estimate * self.fps / info.fps))
        self.length = length if max_frames is None else min(length, max_frames)

    def frames(self) -> Iterator[Tensor]:
        """The frames, uint8 (3, H, W)."""
        return read_frames(self.path, fps=self.sampled, max_frames=self.max_frames, folder_fps=self.folder_fps)

    def names(self) -> Iterable[str]:
        """A name for every frame: its file's, or 00000 and so on where there is none or two have the same."""
        if self.stems is not None and len(set(self.stems)) == len(self.stems):
            return self.stems
        return (f"{index:05d}" for index in count())
