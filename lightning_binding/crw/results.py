"""What propagation leaves on the disk: masks or points of every frame, and a video that shows them.

Everything is written as it is found, so that an error or an interruption leaves what came before it.
"""

import csv
from collections.abc import Iterable, Iterator
from pathlib import Path

import torch
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor

from lightning_binding.errors import InputError
from lightning_binding.masks import overlay, write_mask
from lightning_binding.video.writer import best_ending, write_video


def written_masks(folder: Path, named: Iterable[tuple[Tensor, str]]) -> Iterator[Tensor]:
    """Writes masks as indexed PNGs, and passes them on; warns of others that lie there.

    Args:
        folder: Where to; each becomes `<name>.png`.
        named: Ids uint8 (H, W), and the frame's name.
    """
    before = {path.stem for path in folder.glob("*.png")}
    for mask, name in named:
        mask = mask.cpu()
        write_mask(folder / f"{name}.png", mask)
        before.discard(name)
        yield mask
    if before:
        rank_zero_warn(f"{folder} still holds {len(before)} masks of before, such as {min(before)}.png.")


def written_points(path: Path, named: Iterable[tuple[Tensor, str]], size: tuple[int, int]) -> Iterator[Tensor]:
    """Writes points as a table of `frame,point,x,y`, and passes them on as masks of dots.

    Args:
        path: Of the CSV; x and y of a point that is lost stay empty.
        named: Coordinates x and y in pixels, (K, 2), and the frame's name.
        size: Height and width of the frames.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["frame", "point", "x", "y"])
        for points, name in named:
            for index, point in enumerate(points.tolist()):
                table.writerow([name, index, *("" if value != value else f"{value:.2f}" for value in point)])
            file.flush()
            yield dots(points, size)


def dots(points: Tensor, size: tuple[int, int]) -> Tensor:
    """A mask uint8 (H, W) with a disk of its own id for every point (K, 2) that is not NaN."""
    mask = torch.zeros(size, dtype=torch.uint8)
    radius = max(1.5, min(size) / 60)
    y, x = torch.arange(size[0])[:, None], torch.arange(size[1])
    for index, (px, py) in enumerate(points.tolist()):
        mask[(x - px) ** 2 + (y - py) ** 2 <= radius**2] = index % 254 + 1
    return mask


def show(folder: Path, marked: Iterable[tuple[Tensor, Tensor]], fps: float, opacity: float) -> Path:
    """Writes frames with their masks over them as `overlay.mp4`, or as `overlay.gif` where PyAV is missing.

    If an error interrupts them, it is raised when the video of those before it is complete.

    Args:
        folder: Where to.
        marked: Frames uint8 (3, H, W), and ids uint8 (H, W).
        fps: Frames a second.
        opacity: Of the objects' colours, in [0, 1].

    Returns:
        The path of the video.
    """
    interrupted: list[BaseException] = []

    def pictures() -> Iterator[Tensor]:
        try:
            for frame, mask in marked:
                yield overlay(frame, mask, opacity)
        except (Exception, KeyboardInterrupt) as error:
            interrupted.append(error)

    path = folder / f"overlay{best_ending('The overlay becomes')}"
    try:
        write_video(path, pictures(), fps)
    except InputError:
        if not interrupted:
            raise
    if interrupted:
        raise interrupted[0]
    return path
