"""Commands of the perception chapter."""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor
from tqdm import tqdm

from lightning_binding.crw.annotations import read_masks, read_points
from lightning_binding.crw.footage import Footage
from lightning_binding.crw.points import track
from lightning_binding.crw.results import show, written_masks, written_points
from lightning_binding.crw.segment import segment
from lightning_binding.crw.settings import PropagationSettings
from lightning_binding.crw.settings import preset as find_preset
from lightning_binding.crw.walker import walker
from lightning_binding.errors import InputError

SHORT_SIDE = 480  # of DAVIS, with which the settings were found; larger videos are brought to it


def propagate(
    video: str,
    mask: str | None = None,
    points: str | None = None,
    ckpt_path: str | None = None,
    backbone: str | None = None,
    pretrained: bool = False,
    weights: str | None = None,
    layer: str | int | None = None,
    stride: int | None = None,
    preset: str | None = None,
    context: int | None = None,
    top_k: int | None = None,
    temperature: float | None = None,
    radius: float | None = None,
    short_side: int | None = None,
    fps: float | None = None,
    max_frames: int | None = None,
    backend: str = "pyav",
    decode_timeout: float = 30.0,
    batch_size: int = 1,
    overlay: bool = True,
    opacity: float = 0.5,
    out: str = "propagated",
    device: str = "auto",
) -> Path:
    """Follows objects, or points, through a video from where they are in its first frame.

    The network is that of the package when neither `--ckpt_path` nor `--backbone` is given.

    Args:
        video: Video file, or folder of frames in the order of their names.
        mask: Mask of the first frame, at the size of the video: an indexed PNG of object ids, or a picture in black
            and white for one object. A folder of masks that are named as their frames (by the frame's file, or
            00000.png and so on) adds objects that appear later: of a later mask, only new ids are looked at.
        points: Points of the first frame in place of a mask: "x,y;x,y" in pixels, or a CSV or JSON file of them.
        ckpt_path: Checkpoint of a run of ContrastiveRandomWalk, a file that `export` wrote, or the original code's
            `pretrained.pth`. Its own layer and settings are used where no others are given.
        backbone: Model of timm in place of a checkpoint, such as `resnet18` or `vit_small_patch8_224.dino`.
        pretrained: Download timm's weights for the backbone.
        weights: File of weights for the backbone, in any form that timm reads.
        layer: Layer whose features are compared, by name or place; the checkpoint's own or the backbone's last when
            not given.
        stride: Pixels of one step of the backbone's features; when not given, 8 for a convolutional network, and the
            patch of a transformer.
        preset: Settings of a published method, such as crw, dino or dinov3; the checkpoint's own when not given.
        context: Number of the last frames that labels come from, beside the first; overrides the preset.
        top_k: Cells that a cell takes its label from; overrides the preset.
        temperature: Of the softmax over their similarities; overrides the preset.
        radius: Of the window, in cells, in which a cell sees the last frames; overrides the preset.
        short_side: Pixels of the shorter side of the frames that are encoded; when not given, that of the preset, and
            480 for a larger video if it has none. Masks and points are at the size of the video in any case.
        fps: Frames a second: of a file, as many are taken; a folder is played at this rate. When not given, every frame
            is taken, and a folder plays at 24.
        max_frames: End after so many frames.
        backend: Library that decodes a file: `pyav` (the extra `video`) or `torchcodec` (the extra `codec`).
        decode_timeout: Seconds that a frame may take to decode, which happens in a process of its own.
        batch_size: Frames that are encoded together.
        overlay: Write the video with the objects in colour.
        opacity: Of these colours, in [0, 1].
        out: Folder to write into: `masks/` with an indexed PNG for each frame, or `points.csv`, and `overlay.mp4`.
        device: Where to compute: auto, cpu, cuda, …

    Returns:
        The folder.

    Raises:
        InputError: If the video, the annotation, the network or a setting is not valid.
    """
    if (mask is None) == (points is None):
        raise InputError("give either --mask or --points of the first frame.")
    if not 0 <= opacity <= 1:
        raise InputError(f"--opacity {opacity} must be in [0, 1].")
    footage = Footage(video, fps, max_frames, backend, decode_timeout)
    masks = {} if mask is None else read_masks(mask, footage.stems, max_frames)
    start = None if points is None else _inside(read_points(points), footage.size)
    network = walker(ckpt_path, backbone, pretrained, weights, layer, stride)
    given = {"context": context, "top_k": top_k, "temperature": temperature, "radius": radius, "short_side": short_side}
    settings = _settings(network.propagation if preset is None else find_preset(preset, {}), given, footage.size)
    network.to(_device(device))
    how: dict[str, Any] = {
        "encode": network.encode,
        "settings": settings,
        "multiple": network.backbone.multiple,
        "batch": batch_size,
        "watcher": None if network.adaptation is None else network.adaptation.on(network, settings.context),
    }
    shown: deque[Tensor] = deque()  # frames that were read and are not yet drawn
    frames = _noted(footage.frames(), shown) if overlay else footage.frames()
    if start is None:
        found = segment(frames, masks.pop(0), later=masks, **how)
    else:
        found = track(frames, start, subcell=True, **how)
    bar = tqdm(found, desc="propagating", total=footage.length, unit=" frames")
    named, folder = zip(bar, footage.names(), strict=False), Path(out)
    if start is None:
        paths, marks = [folder / "masks"], written_masks(folder / "masks", named)
    else:
        paths, marks = [folder / "points.csv"], written_points(folder / "points.csv", named, footage.size)
    if overlay:
        marked = ((shown.popleft(), mark) for mark in marks)
        paths.append(show(folder, marked, footage.fps, opacity if start is None else 1.0))
    else:
        deque(marks, maxlen=0)
    speed = f"{bar.n} frames, {bar.n / bar.format_dict['elapsed']:.1f} a second"
    if network.adaptation is not None:
        speed += f", adaptation {network.adaptation.seconds / network.adaptation.frames:.3f} s of each"
    rank_zero_info(f"{speed}: {', '.join(map(str, paths))}")
    return folder


def _noted(frames: Iterable[Tensor], notes: deque[Tensor]) -> Iterator[Tensor]:
    """Passes frames on, and notes each."""
    for frame in frames:
        notes.append(frame)
        yield frame


def _settings(
    settings: PropagationSettings, given: Mapping[str, float | None], size: tuple[int, int]
) -> PropagationSettings:
    """Settings with those that are given, and frames that are no larger than they were made for."""
    changes: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    short_side = changes.get("short_side")
    if short_side is not None:
        if short_side < 1:
            raise InputError(f"--short_side {short_side} must be 1 or more.")
        changes["size"] = changes["long_side"] = None
    elif (settings.short_side or settings.long_side or settings.size) is None and min(size) > SHORT_SIDE:
        changes["short_side"] = SHORT_SIDE
    return replace(settings, **changes)


def _inside(points: Tensor, size: tuple[int, int]) -> Tensor:
    """The points, if none lies outside of the frames."""
    height, width = size
    outside = ((points < 0) | (points > points.new_tensor([width - 1, height - 1]))).any(1)
    if outside.any():
        x, y = points[outside][0].tolist()
        raise InputError(f"--points: ({x:g}, {y:g}) lies outside of the frames, which are {width} x {height} pixels.")
    return points


def _device(name: str) -> torch.device:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"--device {name} cannot be used: {str(error).splitlines()[0]}") from error
