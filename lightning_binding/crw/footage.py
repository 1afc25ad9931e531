"""A user's video: a file, or a folder of frames with names of their own."""

from collections.abc import Iterable, Iterator
from itertools import count, islice
from pathlib import Path

from torch import Tensor

from lightning_binding.errors import InputError
from lightning_binding.video.decode import FOLDER_FPS
from lightning_binding.video.folder import frame_files
from lightning_binding.video.guarded import GuardedDecoder


class Footage:
    """What is read of a video, and how its frames are called.

    It is decoded in a process of its own: a file that crashes the decoder, or hangs it, ends in a sentence.

    Args:
        path: Of the file or the folder.
        fps: Frames a second that are taken of a file, and at which a folder plays; None takes all.
        max_frames: End after so many.
        backend: Library that decodes files: `pyav` or `torchcodec`.
        timeout: Seconds that a frame may take.

    Attributes:
        size: Height and width.
        fps: Frames a second of what is read.
        length: Number of frames, which for a file is an estimate.
        stems: Names of a folder's frames without their endings; None for a file.

    Raises:
        InputError: If the video cannot be read, or a number is not positive.
    """

    def __init__(
        self,
        path: str,
        fps: float | None = None,
        max_frames: int | None = None,
        backend: str = "pyav",
        timeout: float = 30.0,
    ) -> None:
        for name, number in {"fps": fps, "max_frames": max_frames}.items():
            if number is not None and number <= 0:
                raise InputError(f"--{name} {number} must be positive.")
        self.path, self.max_frames, self.backend = path, max_frames, backend
        self.decoder = GuardedDecoder(timeout)
        self.stems = [Path(file).stem for file in frame_files(path)] if Path(path).is_dir() else None
        self.sampled = fps if self.stems is None else None
        self.folder_fps = fps or FOLDER_FPS
        info = self.decoder.probe(path, self.folder_fps, backend)
        self.size = info.height, info.width
        self.fps = self.sampled or info.fps
        length = max(1, round(info.frames_estimate * self.fps / info.fps))
        self.length = length if max_frames is None else min(length, max_frames)

    def frames(self) -> Iterator[Tensor]:
        """The frames, uint8 (3, H, W)."""
        try:
            stream = self.decoder.stream(self.path, self.sampled, self.folder_fps, self.backend)
            yield from islice(stream, self.max_frames)
        finally:
            self.decoder.close()

    def names(self) -> Iterable[str]:
        """A name for every frame: its file's, or 00000 and so on where there is none or two have the same."""
        if self.stems is not None and len(set(self.stems)) == len(self.stems):
            return self.stems
        return (f"{index:05d}" for index in count())
