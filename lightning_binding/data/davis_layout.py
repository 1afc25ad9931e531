"""Annotated sequences as a folder in the layout of DAVIS 2017, which every tool of video segmentation reads."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from PIL import Image
from torch import Tensor

from lightning_binding.data.clipset import SequenceSet, VideoSequence
from lightning_binding.errors import InputError
from lightning_binding.masks import write_mask


def write_davis(
    sequences: SequenceSet | Iterable[VideoSequence],
    root: str | Path,
    split: str = "val",
    year: str = "2017",
    resolution: str = "480p",
    lossless: bool = False,
) -> Path:
    """Write sequences; they are read one at a time, so any number fits.

    `JPEGImages/480p/<name>/00000.jpg` are the frames, `Annotations/480p/<name>/00000.png` the masks, as indexed PNGs in
    the palette of DAVIS, and `ImageSets/2017/val.txt` lists the names.

    Args:
        sequences: With masks.
        root: The folder of the set; it and those inside are made, files of the same names are written over.
        split: Name of the list.
        year: Name of the list's folder; DAVIS has 2016 (one object) and 2017 (several).
        resolution: Name of the folders of frames and masks, whatever the size of the frames.
        lossless: Whether frames are PNGs instead of JPEGs of quality 95; not every tool finds those.

    Returns:
        The root.

    Raises:
        InputError: No sequences, one without masks, or two of one name.
    """
    root = Path(root)
    names: list[str] = []
    if isinstance(sequences, SequenceSet):
        sequences = map(sequences.__getitem__, range(len(sequences)))
    for sequence in sequences:
        name = sequence["name"]
        if "mask" not in sequence:
            raise InputError(f"the sequence {name} has no masks, which the layout of DAVIS is made for.")
        if name in names:
            raise InputError(f"two sequences are called {name}; each needs a name, and so a folder, of its own.")
        names.append(name)
        frames, masks = (root / kind / resolution / name for kind in ("JPEGImages", "Annotations"))
        frames.mkdir(parents=True, exist_ok=True)
        for frame, image, mask in zip(sequence["frame_names"], sequence["video"], sequence["mask"], strict=True):
            _write_frame(frames / frame, image, lossless)
            write_mask(masks / f"{frame}.png", mask)
    if not names:
        raise InputError("there are no sequences to write; the data module's eval_set must have one or more.")
    listing = root / "ImageSets" / year / f"{split}.txt"
    listing.parent.mkdir(parents=True, exist_ok=True)
    listing.write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
    return root


def _write_frame(path: Path, image: Tensor, lossless: bool) -> None:
    """Write uint8 `(3, H, W)` under a path without ending."""
    picture = Image.fromarray(image.permute(1, 2, 0).numpy())
    if lossless:
        picture.save(f"{path}.png")
    else:
        picture.save(f"{path}.jpg", quality=95, subsampling=0)  # full colour: the edges of objects are what counts
