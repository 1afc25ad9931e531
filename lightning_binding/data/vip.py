"""VIP: parsing of people in video into parts, whose labels are given in the first frame."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from lightning_binding.data.maskset import MaskFolders, read_list
from lightning_binding.data.videobase import VideoDataModule


class VIPDataModule(VideoDataModule):
    """Video Instance Parsing (VIP), to evaluate on; the layout is that of the archive `VIP_Fine`.

    `Images/<sequence>/*.jpg`, `Annotations/Category_ids/<sequence>/*.png` with classes 0 (background) to 19, and
    `lists/val_videos.txt`. The layout was written down without the archive at hand: names of the frames may be any,
    as long as those of the labels agree, and `labels` and `split` point elsewhere where a copy differs.
    Frames and labels keep their size; the size at which labels are propagated (560 x 560 in CRW's protocol) is a
    setting of the propagation, and results are scored at the size of the labels.

    Args:
        root: The folder that holds `Images`, `Annotations` and `lists`.
        split: Name of the list of sequences, in `lists`.
        labels: Folder of the labels.
        num_workers: Processes that read ahead; each holds two sequences, which may be of full HD.

    Raises:
        InputError: On set-up: a folder, list, frame or label that is missing; on reading: files that cannot be read,
            or of different sizes.
    """

    classes: ClassVar[list[str]] = [
        *("background", "hat", "hair", "glove", "sunglasses", "upper clothes", "dress", "coat", "socks", "pants"),
        *("torso skin", "scarf", "skirt", "face", "left arm", "right arm", "left leg", "right leg", "left shoe"),
        "right shoe",
    ]

    def __init__(
        self,
        root: str,
        split: str = "val_videos",
        labels: str = "Annotations/Category_ids",
        num_workers: int = 1,
    ) -> None:
        super().__init__(num_workers=num_workers)
        self.root, self.split, self.labels = root, split, labels

    def setup(self, stage: str) -> None:
        """Looks through the folders, so that what is missing is found first."""
        self.eval_set()

    def eval_set(self) -> MaskFolders:
        """The sequences of the split."""
        root = Path(self.root).expanduser()
        names = read_list(root / "lists" / f"{self.split}.txt", self.root)
        return MaskFolders(root / "Images", root / self.labels, names)
