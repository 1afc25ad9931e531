"""Clips of video files and folders of frames: Kinetics's layout, any folder of videos, or a list."""

from __future__ import annotations

import functools
import os

from lightning_binding.data.broken import BrokenFiles
from lightning_binding.data.crops import ClipCrop, CropKind
from lightning_binding.data.scan import Files
from lightning_binding.data.video_clips import VideoClips
from lightning_binding.data.video_scan import is_video, scan_videos
from lightning_binding.data.videobase import VideoDataModule
from lightning_binding.errors import InputError
from lightning_binding.video.guarded import GuardedDecoder
from lightning_binding.video.pyav import import_av


class VideoFolderDataModule(VideoDataModule):
    """Clips to train on, each from a random place of a video.

    Layouts: `root/train/<class>/…` (Kinetics's), `root/<class>/…`, or videos without classes, in `root` or in
    `root/train`. A video is a file (.mp4, .webm, .mkv, .avi, .mov, .m4v) or a folder of frames, whose names are in
    natural order. `root` may also be one video, or a text file with a path on each line. The files are found, not
    opened: there is no index to wait for, and the length of a video is learnt when a clip is cut out of it.
    Frames are picked by their time stamps, whatever the rate of the file, and turned upright.
    Decoding happens in a process beside each worker. A file that cannot be decoded, that crashes the decoder or hangs
    it, costs a warning and a line in a list, not the run: the next video takes its place.

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
        decode_timeout: Seconds that a clip may take before its file counts as broken.
        max_broken: Share of the videos that may be broken before the run stops. A single one is always tolerated,
            unless this is 0.
        broken_files: The file that lists broken videos; None: `broken_files.txt` in the trainer's log folder, or in
            the working folder without a trainer.

    Raises:
        InputError: Wrong sizes, rates, ranges or shares; on set-up: no such folder, no videos, or PyAV is missing.
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
        decode_timeout: float = 30.0,
        max_broken: float = 0.01,
        broken_files: str | None = None,
    ) -> None:
        super().__init__(batch_size, num_workers, seed)
        positive = {"frames": frames, "fps": fps, "short_side": short_side, "clips_per_video": clips_per_video}
        for name, value in {**positive, "folder_fps": folder_fps}.items():
            if value is not None and value <= 0:
                raise InputError(f"{name} is {value}; it must be positive.")
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
        }
        self.root = os.path.abspath(os.path.expanduser(root))
        self.clips_per_video = clips_per_video
        self.horizontal_flip = horizontal_flip
        self.unlabelled = unlabelled
        self.max_broken = max_broken
        self.broken_files = broken_files
        self._list = broken_files or "broken_files.txt"

    @functools.cached_property
    def _found(self) -> tuple[Files, list[str]]:
        """The videos and the names of their classes."""
        return scan_videos(self.root, self.unlabelled)

    @property
    def class_names(self) -> list[str]:
        """The folders of the classes, sorted; empty where videos have none."""
        return self._found[1]

    @property
    def num_classes(self) -> int:
        """Number of classes; 0 where videos have no label."""
        return len(self.class_names)

    def setup(self, stage: str) -> None:
        """Look for the videos, so that a missing folder is found before the model is built; name the list."""
        if any(is_video(os.fsdecode(bytes(path))) for path in self._found[0].path):
            import_av()
        if self.broken_files is None and self.trainer is not None:
            folder = self.trainer.log_dir or self.trainer.default_root_dir
            self._list = os.path.join(folder, "broken_files.txt")

    def train_set(self) -> VideoClips:
        """Clips at random places, cropped at random."""
        files = self._found[0]
        broken = BrokenFiles(self._list, files.root, len(files.label), self.max_broken, "video")
        return VideoClips(
            files, self.decoder, self.clip, self.crop, broken, self.clips_per_video, self.horizontal_flip, self.seed
        )

    def teardown(self, stage: str) -> None:
        """Ends the decoder process of the main process."""
        self.decoder.close()
