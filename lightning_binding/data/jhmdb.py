"""JHMDB: joints of people in video, which are given in the first frame."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, NamedTuple

import torch

from lightning_binding.data.clipset import SequenceSet, VideoSequence
from lightning_binding.data.jhmdb_files import listed_clips, read_points
from lightning_binding.data.videobase import VideoDataModule
from lightning_binding.data.wholevideo import read_video
from lightning_binding.errors import InputError
from lightning_binding.video.folder import frame_files

POSITIONS = "joint_positions"


class Clip(NamedTuple):
    """The files of a clip.

    Attributes:
        name: `<class>/<clip>`.
        video: Folder of its frames, or its video file.
        positions: The `.mat` file of its joints.
    """

    name: str
    video: Path
    positions: Path


class JHMDBDataModule(VideoDataModule):
    """JHMDB's test set, to evaluate on; the layout is that of the published archives, unpacked in one folder.

    `splits/<class>_test_split1.txt`, `joint_positions/<class>/<clip>/joint_positions.mat` and
    `Rename_Images/<class>/<clip>/00001.png`, or, where there are no frames, `ReCompress_Videos/<class>/<clip>.avi`.
    The layout was written down without the archives at hand.
    Frames keep their size, and the joints are in their pixels, counted from 0; a joint outside the frame is NaN. The
    size at which joints are propagated (320 x 320 in CRW's protocol) is a setting of the propagation.

    Args:
        root: The folder that holds `splits`, `joint_positions` and the frames or videos.
        split: Which of the three splits.
        frames: Folder of the frames.
        videos: Folder of the videos, which are read where a clip has no frames.
        num_workers: Processes that read ahead.

    Raises:
        InputError: A split that is none; on set-up: a folder, list, clip or file of joints that is missing; on
            reading: files that cannot be read, or joints of more frames than there are.
    """

    joints: ClassVar[list[str]] = [
        *("neck", "belly", "face", "right shoulder", "left shoulder", "right hip", "left hip", "right elbow"),
        *("left elbow", "right knee", "left knee", "right wrist", "left wrist", "right ankle", "left ankle"),
    ]

    def __init__(
        self,
        root: str,
        split: int = 1,
        frames: str = "Rename_Images",
        videos: str = "ReCompress_Videos",
        num_workers: int = 1,
    ) -> None:
        super().__init__(num_workers=num_workers)
        if split not in (1, 2, 3):
            raise InputError(f"split is {split}; JHMDB has the splits 1, 2 and 3.")
        self.root, self.split, self.frames, self.videos = root, split, frames, videos

    def setup(self, stage: str) -> None:
        """Looks for the files, so that what is missing is found first."""
        self.eval_set()

    def eval_set(self) -> JHMDBClips:
        """The clips of the split's test set, by class and name."""
        root = Path(self.root).expanduser()
        ending = f"_test_split{self.split}.txt"
        lists = sorted((root / "splits").glob(f"[!.]*{ending}"))
        if not lists:
            raise InputError(
                f"there is no list {root / 'splits'}/<class>{ending}; is {self.root} the folder of JHMDB, with splits, "
                f"{POSITIONS} and {self.frames}?"
            )
        clips = [
            self._clip(root, path.name.removesuffix(ending), name) for path in lists for name in listed_clips(path)
        ]
        return JHMDBClips(clips)

    def _clip(self, root: Path, action: str, name: str) -> Clip:
        positions = root / POSITIONS / action / name / f"{POSITIONS}.mat"
        folder, file = root / self.frames / action / name, root / self.videos / action / f"{name}.avi"
        video = folder if folder.is_dir() else file
        if not video.exists():
            raise InputError(f"the clip {action}/{name} is missing: there is neither {folder} nor {file}.")
        if not positions.is_file():
            raise InputError(f"the clip {action}/{name} has no joints: there is no file {positions}.")
        return Clip(f"{action}/{name}", video, positions)


class JHMDBClips(SequenceSet):
    """Clips of JHMDB, whole.

    Args:
        clips: Their files.
    """

    def __init__(self, clips: list[Clip]) -> None:
        self.clips = clips

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, index: int) -> VideoSequence:
        """Reads a clip."""
        clip = self.clips[index]
        video = read_video(clip.video)
        names = [Path(path).stem for path in frame_files(str(clip.video))] if clip.video.is_dir() else None
        points = read_points(clip.positions, (video.shape[2], video.shape[3]))
        if len(points) > len(video):
            raise InputError(f"{clip.positions} has joints of {len(points)} frames, {clip.video} has {len(video)}.")
        unseen = torch.full((len(video) - len(points), *points.shape[1:]), torch.nan)
        return {
            "video": video,
            "points": torch.cat([points, unseen]),
            "name": clip.name,
            "frame_names": names or [f"{frame + 1:05d}" for frame in range(len(video))],
        }
