"""Clips of video files and folders of frames: Kinetics's layout, any folder of videos, or a list."""

from __future__ import annotations

import functools
import os
from typing import Any

from torch.utils.data import DataLoader

from lightning_binding.data.broken import BrokenFiles
from lightning_binding.data.crops import ClipCrop, CropKind
from lightning_binding.data.loader import exact_loader
from lightning_binding.data.scan import Files
from lightning_binding.data.source import Source
from lightning_binding.data.video_clips import VideoClips
from lightning_binding.data.video_scan import is_video, scan_videos
from lightning_binding.data.videobase import VideoDataModule
from lightning_binding.errors import InputError
from lightning_binding.video.decode import find_backend
from lightning_binding.video.guarded import GuardedDecoder


class VideoFolderDataModule(VideoDataModule):
    """Clips to train on, each from a random place of a video.

    Layouts: `root/train/<class>/…` (Kinetics's), `root/<class>/…`, or videos without classes, in `root` or in
    `root/train`. A video is a file (.mp4, .webm, .mkv, .avi, .mov, .m4v) or a folder of frames, whose names are in
    natural order. `root` may also be one video, or a text file with a path on each line. The files are found, not
    opened: there is no index to wait for, and the length of a video is learnt when a clip is cut out of it.
    Frames are picked by their time stamps, whatever the rate of the file, and turned upright.
    Decoding happens in a process beside each worker. A file that cannot be decoded, that crashes the decoder or hangs
    it, costs a warning and a line in a list, not the run: the next video takes its place.

    With `eval_clips`, the videos in `root/val` (the layouts are the same) are validated on: of each, as many clips,
    always the same, from the middle of the frame. Without it there is no validation.

    Args:
        root: The folder, a video, or a list of videos: a path on each line, or a folder of frames and their number.
        batch_size: Clips in a training batch, on each device.
        num_workers: Processes that decode ahead; each has a decoder process of its own.
        seed: Of the orders, the places of the clips, the crops and flips.
        frames: Length of a clip.
        fps: Frames of a clip a second; None: as many as the video has.
        frame_size: Height and width of the frames, in pixels.
        short_side: Frames are first resized so that the shorter side has these pixels, as the published copies of
            Kinetics are; None leaves them as they are.
        crop: `clip`: one random crop for all frames of a clip; `frame`: one for each frame, as in CRW's code;
            `centre`: the largest square in the middle.
        crop_scale: Range of the share of a frame's area that a random crop keeps.
        crop_ratio: Range of the width of a random crop over its height.
        horizontal_flip: Whether to mirror half of the clips, all frames of a clip alike.
        clips_per_video: How often each video stands in an epoch, each time with another clip.
        max_held: Share of a clip's frames that may be repeats of its last one, where a video is too short; a video
            that is shorter still counts as broken.
        folder_fps: Frames a second of folders of frames.
        unlabelled: Whether to take all videos under `root`, at any depth, as of no class.
        backend: Library that decodes files: `pyav` (the extra `video`) or `torchcodec` (the extra `codec`).
        decode_timeout: Seconds that a clip may take before its file counts as broken.
        max_broken: Share of the videos that may be broken before the run stops. A single one is always tolerated,
            unless this is 0.
        eval_clips: Clips of each video in `root/val` that are validated on, each always at the same place.
        eval_batch_size: Clips in a batch of validation, on each device; None: `batch_size`.
        broken_files: The file that lists broken videos; None: `broken_files.txt` in the trainer's log folder, or in
            the working folder without a trainer.

    Raises:
        InputError: Wrong sizes, rates, ranges or shares, an unknown backend; on set-up: no such folder, no videos, or
            the backend is missing.
    """

    def __init__(
        self,
        root: str,
        batch_size: int = 8,
        num_workers: int = 4,
        seed: int = 0,
        frames: int = 4,
        fps: float | None = 8.0,
        frame_size: int = 256,
        short_side: int | None = 256,
        crop: CropKind = "clip",
        crop_scale: tuple[float, float] = (0.8, 0.95),
        crop_ratio: tuple[float, float] = (0.7, 1.3),
        horizontal_flip: bool = False,
        clips_per_video: int = 5,
        max_held: float = 0.5,
        folder_fps: float = 24.0,
        unlabelled: bool = False,
        backend: str = "pyav",
        decode_timeout: float = 30.0,
        max_broken: float = 0.01,
        broken_files: str | None = None,
        eval_clips: int = 0,
        eval_batch_size: int | None = None,
    ) -> None:
        super().__init__(batch_size, num_workers, seed)
        positive = {"frames": frames, "fps": fps, "short_side": short_side, "clips_per_video": clips_per_video}
        for name, value in {**positive, "folder_fps": folder_fps}.items():
            if value is not None and value <= 0:
                raise InputError(f"{name} is {value}; it must be positive.")
        if eval_clips < 0 or (eval_batch_size is not None and eval_batch_size < 1):
            raise InputError(
                f"eval_clips is {eval_clips} and eval_batch_size {eval_batch_size}; they must be 0 (no validation) or "
                "more, and 1 or more."
            )
        for name, share in {"max_held": max_held, "max_broken": max_broken}.items():
            if not 0 <= share < 1:
                raise InputError(f"{name} is {share}; it must be a share in [0, 1).")
        self.crop = ClipCrop(crop, frame_size, crop_scale, crop_ratio)
        self.crop.check()
        self.decoder = GuardedDecoder(decode_timeout)
        self.clip = {
            "frames": frames,
            "fps": fps,
            "size": short_side,
            "max_held": max_held,
            "folder_fps": folder_fps,
            "backend": backend,
        }
        find_backend(backend)
        self.backend = backend
        self.root = os.path.abspath(os.path.expanduser(root))
        self.clips_per_video = clips_per_video
        self.horizontal_flip = horizontal_flip
        self.unlabelled = unlabelled
        self.max_broken = max_broken
        self.eval_clips = eval_clips
        self.eval_batch_size = eval_batch_size or batch_size
        self.broken_files = broken_files
        self._list = broken_files or "broken_files.txt"

    @functools.cached_property
    def found(self) -> tuple[Source, list[str]]:
        """The videos of training and the names of their classes.

        Raises:
            InputError: No such folder, or no videos.
        """
        return scan_videos(self.root, self.unlabelled)

    def held_out(self) -> Source:
        """The videos of validation.

        Raises:
            InputError: If there is no folder of them.
        """
        folder = os.path.join(self.root, "val")
        if not os.path.isdir(folder):
            raise InputError(f"eval_clips is {self.eval_clips}, but there is no folder {folder} of held-out videos.")
        return scan_videos(folder, self.unlabelled)[0]

    def _needs_backend(self) -> bool:
        """Whether there are files to decode, and not folders of frames alone."""
        files = self.found[0]
        return not isinstance(files, Files) or any(is_video(os.fsdecode(bytes(path))) for path in files.path)

    @property
    def class_names(self) -> list[str]:
        """The folders of the classes, sorted; empty where videos have none."""
        return self.found[1]

    @property
    def num_classes(self) -> int:
        """Number of classes; 0 where videos have no label."""
        return len(self.class_names)

    def setup(self, stage: str) -> None:
        """Look for the videos, so that a missing folder is found before the model is built; name the list."""
        if self._needs_backend():
            find_backend(self.backend).load()
        if self.broken_files is None and self.trainer is not None:
            folder = self.trainer.log_dir or self.trainer.default_root_dir
            self._list = os.path.join(folder, "broken_files.txt")

    def train_set(self) -> VideoClips:
        """Clips at random places, cropped at random."""
        files = self.found[0]
        broken = BrokenFiles(self._list, files.root, files.total, self.max_broken, "video")
        return VideoClips(
            files, self.decoder, self.clip, self.crop, broken, self.clips_per_video, self.horizontal_flip, self.seed
        )

    def eval_clip_set(self) -> VideoClips:
        """Clips of the held-out videos, the same in each epoch, cut out of the middle."""
        files = self.held_out()
        broken = BrokenFiles(self._list, files.root, files.total, self.max_broken, "video")
        crop = self.crop._replace(kind="centre")
        return VideoClips(files, self.decoder, self.clip, crop, broken, self.eval_clips)

    def val_dataloader(self) -> DataLoader[Any]:
        """Clips of the held-out videos, each once over all ranks; none without `eval_clips`."""
        if not self.eval_clips:
            return []  # type: ignore[return-value]
        return exact_loader(self.eval_clip_set(), self.eval_batch_size, self.num_workers, "clips")

    def test_dataloader(self) -> DataLoader[Any]:
        """The same clips as validation."""
        return self.val_dataloader() if self.eval_clips else super().test_dataloader()

    def teardown(self, stage: str) -> None:
        """Ends the decoder process of the main process."""
        self.decoder.close()
