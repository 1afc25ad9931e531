"""From the mask of the first frame to masks of a whole video: sizes, features, propagation, and back to pixels."""

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from lightning_binding.crw.propagation import propagate_frames
from lightning_binding.crw.settings import PropagationSettings
from lightning_binding.errors import InputError

Encode = Callable[[Tensor], Tensor]  # uint8 frames (F, 3, H, W) to features (F, C, h, w)


def frame_size(height: int, width: int, settings: PropagationSettings, multiple: int) -> tuple[int, int]:
    """Height and width that frames are resized to before they are encoded.

    Args:
        height: Of the video, in pixels.
        width: Of the video.
        settings: With the shorter side and the multiple that a method was scored with.
        multiple: What the encoder needs height and width to be a multiple of.
    """
    short = settings.short_side
    scale = 1.0 if short is None else short / min(height, width)
    multiple = max(multiple, settings.multiple_of or 1)
    return tuple(max(round(side * scale) // multiple, 1) * multiple for side in (height, width))  # type: ignore[return-value]


def resize(frames: Tensor, size: tuple[int, int]) -> Tensor:
    """Resizes uint8 frames (F, 3, H, W), with antialiasing; those of the right size are left as they are."""
    if frames.shape[-2:] == size:
        return frames
    resized = F.interpolate(frames.float(), size, mode="bicubic", antialias=True, align_corners=False)
    return resized.round().clamp(0, 255).to(torch.uint8)


def one_hot(mask: Tensor) -> Tensor:
    """The channels of a mask of ids (H, W): background and every id up to the largest, (H, W, L) in {0, 1}.

    Raises:
        InputError: If the mask holds no object, or is no uint8 mask of ids.
    """
    if mask.ndim != 2 or mask.dtype != torch.uint8:
        raise InputError(f"the first mask is {mask.dtype} {tuple(mask.shape)}, expected uint8 ids (H, W).")
    ids = torch.where(mask == 255, 0, mask)  # 255 is void in DAVIS
    if int(ids.max()) == 0:
        raise InputError("the first mask holds no object: at least one pixel must have an id other than 0.")
    return F.one_hot(ids.long()).float()


def to_features(labels: Tensor, height: int, width: int) -> Tensor:
    """Labels (H, W, L) at the resolution of the features, (height, width, L), bilinearly as CRW's code does."""
    return _interpolate(labels, (height, width), "bilinear")


def to_mask(labels: Tensor, size: tuple[int, int], settings: PropagationSettings) -> Tensor:
    """Soft labels of a frame (h, w, L) as a mask of ids at the video's size, uint8 (H, W)."""
    if settings.normalise_labels:
        low, high = labels.amin((0, 1)), labels.amax((0, 1))
        labels = torch.where(high > low, (labels - low) / (high - low).clamp(min=1e-12), labels)
    labels = _interpolate(labels, size, "nearest" if settings.nearest_upsampling else "bilinear")
    return labels.argmax(-1).to(torch.uint8)


def segment(
    video: Sequence[Tensor] | Tensor,
    mask: Tensor,
    encode: Encode,
    settings: PropagationSettings,
    multiple: int = 1,
) -> Iterator[Tensor]:
    """Masks of a video from the mask of its first frame, one after another.

    Args:
        video: Frames uint8 (3, H, W), of one size; each is looked at once.
        mask: Ids of the first frame, uint8 (H, W): 0 is background, 255 is taken as background.
        encode: Maps uint8 frames (1, 3, h', w') to features (1, C, h, w).
        settings: How labels are propagated.
        multiple: What the encoder needs height and width to be a multiple of.

    Yields:
        Masks of ids, uint8 (H, W); that of the first frame is the one given, without void.

    Raises:
        InputError: If the mask's size is not that of the frames, or it holds no object.
    """
    labels = one_hot(mask)
    for time, found in enumerate(propagate_labels(video, labels, encode, settings, multiple)):
        yield to_mask(found, (mask.shape[0], mask.shape[1]), settings) if time else labels.argmax(-1).to(torch.uint8)


def propagate_labels(
    video: Sequence[Tensor] | Tensor,
    labels: Tensor,
    encode: Encode,
    settings: PropagationSettings,
    multiple: int = 1,
) -> Iterator[Tensor]:
    """Soft labels of a video at the resolution of the features, (h, w, L) each; arguments as in `segment`.

    Args:
        video: Frames uint8 (3, H, W).
        labels: Soft labels of the first frame, (H, W, L).
        encode: Maps uint8 frames to features.
        settings: How labels are propagated.
        multiple: What the encoder needs height and width to be a multiple of.
    """
    if len(video) == 0:
        raise InputError("the video has no frame.")
    first = video[0]
    if first.shape[-2:] != labels.shape[:2]:
        raise InputError(
            f"the first mask has {labels.shape[0]} x {labels.shape[1]} pixels, the frames have {first.shape[-2]} x "
            f"{first.shape[-1]}: give the mask of the first frame at the size of the video."
        )
    size = frame_size(first.shape[-2], first.shape[-1], settings, multiple)

    def features() -> Iterator[Tensor]:
        for index in range(len(video)):
            frame = video[index]
            if frame.shape != first.shape:
                raise InputError(f"frame {index} has the shape {tuple(frame.shape)}, the first {tuple(first.shape)}.")
            yield encode(resize(frame[None], size))[0]

    maps = features()
    start = next(maps)
    small = to_features(labels.to(start.device), *start.shape[-2:])
    yield from propagate_frames(_again(start, maps), small, settings)


def _again(first: Tensor, rest: Iterator[Tensor]) -> Iterator[Tensor]:
    yield first
    yield from rest


def _interpolate(labels: Tensor, size: tuple[int, int], mode: str) -> Tensor:
    align = None if mode == "nearest" else False
    moved = F.interpolate(labels.permute(2, 0, 1)[None], size, mode=mode, align_corners=align)
    return moved[0].permute(1, 2, 0)
