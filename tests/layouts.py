"""Tiny copies of DAVIS, VIP and JHMDB in the layouts of the published archives."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from lightning_binding.masks import write_mask

DAVIS = {"bear": 6, "two-dogs": 5}
"""Sequences of the tiny DAVIS and their lengths; the first has one object, the second two."""


def moving_squares(
    objects: int, frames: int, height: int = 48, width: int = 64, seed: int = 0
) -> tuple[Tensor, Tensor]:
    """Textured squares that move 2 px a frame over texture: frames uint8 (T, 3, H, W) and ids uint8 (T, H, W)."""
    random = np.random.default_rng(seed)

    def texture(*size: int) -> Tensor:
        return torch.from_numpy(random.integers(256, size=(3, *size), dtype=np.uint8))

    behind = texture(height, width)
    video, mask = behind.repeat(frames, 1, 1, 1), torch.zeros(frames, height, width, dtype=torch.uint8)
    for number in range(1, objects + 1):
        square, top = texture(16, 16), 4 + 22 * (number - 1)
        for time in range(frames):
            left = 4 + 2 * time if number % 2 else width - 20 - 2 * time
            video[time, :, top : top + 16, left : left + 16] = square
            mask[time, top : top + 16, left : left + 16] = number
    return video, mask


def write_frames(folder: Path, video: Tensor, names: list[str]) -> None:
    """Writes frames as pictures; the ending of a name chooses the format."""
    folder.mkdir(parents=True, exist_ok=True)
    for frame, name in zip(video, names, strict=True):
        Image.fromarray(frame.permute(1, 2, 0).numpy()).save(folder / name, quality=95, subsampling=0)


def write_davis(root: Path, sequences: dict[str, int] | None = None, resolution: str = "480p") -> Path:
    """DAVIS-2017 with the sequences of `DAVIS`, or others; returns its folder."""
    sequences = sequences or DAVIS
    for seed, (name, frames) in enumerate(sequences.items()):
        video, mask = moving_squares(1 + seed % 2, frames, seed=seed)
        write_frames(root / "JPEGImages" / resolution / name, video, [f"{time:05d}.jpg" for time in range(frames)])
        for time in range(frames):
            write_mask(root / "Annotations" / resolution / name / f"{time:05d}.png", mask[time])
    lists = root / "ImageSets" / "2017"
    lists.mkdir(parents=True, exist_ok=True)
    (lists / "val.txt").write_text("\n".join(sequences) + "\n")
    return root


def write_vip(root: Path, sequences: int = 2, frames: int = 4) -> Path:
    """VIP_Fine; returns its folder. Frames are named as they are numbered in the videos that they were taken from."""
    names = [f"videos{number}" for number in range(1, sequences + 1)]
    for seed, name in enumerate(names):
        video, mask = moving_squares(2, frames, seed=seed)
        stems = [f"{25 * (time + 1):012d}" for time in range(frames)]
        write_frames(root / "Images" / name, video, [f"{stem}.jpg" for stem in stems])
        for stem, each in zip(stems, mask, strict=True):
            write_mask(root / "Annotations" / "Category_ids" / name / f"{stem}.png", each * 9)
    (root / "lists").mkdir(parents=True, exist_ok=True)
    (root / "lists" / "val_videos.txt").write_text("\n".join(names) + "\n")
    return root


def joints(frames: int) -> np.ndarray:
    """`pos_img` (2, 15, T) of a clip: joints in two columns, counted from 1, that move 2 px a frame to the right."""
    numbers = np.arange(15)
    places = np.stack([8.0 + 16 * (numbers % 2), 4.0 + 2 * numbers]) + 1
    return places[:, :, None] + np.stack([2.0 * np.arange(frames), np.zeros(frames)])[:, None]


def write_jhmdb(root: Path, clips: int = 2, frames: int = 5) -> Path:
    """JHMDB with one training clip, which lies nowhere, and some of the test set; returns its folder."""
    from scipy.io import savemat

    names = [f"A_clip_of_{number}" for number in range(clips)]
    for seed, name in enumerate(names):
        action = ("catch", "walk")[seed % 2]
        video, _ = moving_squares(1, frames, seed=seed)
        names_of_frames = [f"{time + 1:05d}.png" for time in range(frames)]
        write_frames(root / "Rename_Images" / action / name, video, names_of_frames)
        folder = root / "joint_positions" / action / name
        folder.mkdir(parents=True)
        savemat(folder / "joint_positions.mat", {"pos_img": joints(frames), "scale": np.ones((1, frames))})
    (root / "splits").mkdir()
    for number, action in enumerate(("catch", "walk")):
        test = "".join(f"{name}.avi 2\n" for name in names[number::2])
        (root / "splits" / f"{action}_test_split1.txt").write_text(f"of_training.avi 1\n{test}")
    return root
