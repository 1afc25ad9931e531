"""DAVIS: segmentation of objects in video, whose masks are given in the first frame."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from lightning_binding.data.maskset import MaskFolders, read_list
from lightning_binding.data.videobase import VideoDataModule


class DAVISDataModule(VideoDataModule):
    """DAVIS-2017 or DAVIS-2016, to evaluate on; the layout is that of the published archives.

    `JPEGImages/480p/<sequence>/00000.jpg`, `Annotations/480p/<sequence>/00000.png` (indexed) and
    `ImageSets/2017/val.txt`. The sequences of 2016 may be listed in `ImageSets/2016/val.txt` (the archive of 2017) or
    in `ImageSets/480p/val.txt` (that of 2016); all that moves is one object there, 1, so that masks of either archive
    serve. A sequence of which only the first frame has a mask (`test-dev`) gives that one mask: results are written
    and not scored.

    Args:
        root: The folder that holds `JPEGImages`, `Annotations` and `ImageSets`.
        year: `2017`, several objects in a sequence, or `2016`, one.
        split: Name of the list of sequences: `val`, `train`, `test-dev`, …
        resolution: Folder of the frames and masks: `480p`, or `Full-Resolution`.
        num_workers: Processes that read ahead; each holds two sequences, of some 130 MB at 480p.

    Raises:
        InputError: On set-up: a folder, list, frame or mask that is missing; on reading: files that cannot be read, or
            of different sizes.
    """

    def __init__(
        self,
        root: str,
        year: Literal["2017", "2016"] = "2017",
        split: str = "val",
        resolution: str = "480p",
        num_workers: int = 1,
    ) -> None:
        super().__init__(num_workers=num_workers)
        self.root, self.year, self.split, self.resolution = root, year, split, resolution

    def setup(self, stage: str) -> None:
        """Looks through the folders, so that what is missing is found first."""
        self.eval_set()

    def eval_set(self) -> MaskFolders:
        """The sequences of the split."""
        root = Path(self.root).expanduser()
        lists = root / "ImageSets"
        path = lists / self.year / f"{self.split}.txt"
        if self.year == "2016" and not path.is_file() and (lists / self.resolution).is_dir():
            path = lists / self.resolution / f"{self.split}.txt"
        return MaskFolders(
            root / "JPEGImages" / self.resolution,
            root / "Annotations" / self.resolution,
            read_list(path, self.root),
            merge=self.year == "2016",
        )
