"""How labels are propagated: the settings that published methods were scored with.

Numbers of different papers compare only where all of these agree.
"""

from dataclasses import dataclass, replace
from typing import Any

from lightning_binding.errors import InputError
from lightning_binding.names import did_you_mean

CHOICES = {
    "shape": ("circle", "disk", "square"),
    "frame_resampling": ("bicubic", "bilinear"),
    "label_resampling": ("bilinear", "nearest"),
}
LEAST = {"context": 0, "top_k": 1, "radius": 0, "other_side_multiple": 1, "point_cells": 1}
SIZES = ("short_side", "long_side", "size")


@dataclass(frozen=True)
class PropagationSettings:
    """Settings of label propagation; the defaults are those of CRW's code.

    Attributes:
        context: Number of the last frames that labels come from, beside the first.
        top_k: Cells that a cell takes its label from.
        temperature: Of the softmax over their similarities.
        radius: Of the window, in cells.
        shape: Of the window: `circle` (closer than the radius), `disk` (at most the radius), `square`.
        window_first_frame: Whether the first frame is seen through the window too.
        pad_with_first_frame: Whether the first frame stands in for frames before it, as often as they are missing.
        first_frame_twice: Whether the first frame is also one of the last while it is recent enough, and counts twice.
        short_side: Frames are resized so that the shorter side has these pixels; None leaves them as they are.
        long_side: The same of the longer side, in place of `short_side`.
        size: Frames are squeezed to this height and width, whatever their shape, in place of either.
        other_side_multiple: The side that follows from `short_side` or `long_side` is rounded down to a multiple of
            this number.
        round_up: Bring sides up to what the network needs a multiple of, such as its patch; else down.
        frame_resampling: How frames are resized: `bicubic` with antialiasing, or `bilinear` without, as OpenCV does.
        label_resampling: How labels are made as small as the features: `bilinear`, or `nearest` (to a cell's middle).
        align_corners: Resize labels with the middles of the corner cells on those of the corner pixels.
        normalise_labels: Stretch each enlarged label channel of a frame to [0, 1] before the largest is taken.
        nearest_upsampling: Bring soft labels to the size of the video by nearest neighbours, else bilinearly.
        decide_at_input_size: Take the largest channel at the size that frames are encoded at, and bring the mask to
            that of the video by nearest neighbours; else take it at the size of the video.
        point_cells: Cells with the most of a point's label that its place is read out from.

    Raises:
        InputError: If a setting is out of range, or the size of frames is given twice.
    """

    context: int = 20
    top_k: int = 10
    temperature: float = 0.05
    radius: float = 12
    shape: str = "circle"
    window_first_frame: bool = False
    pad_with_first_frame: bool = True
    first_frame_twice: bool = False
    short_side: int | None = None
    long_side: int | None = None
    size: tuple[int, int] | None = None
    other_side_multiple: int = 1
    round_up: bool = False
    frame_resampling: str = "bicubic"
    label_resampling: str = "bilinear"
    align_corners: bool = False
    normalise_labels: bool = False
    nearest_upsampling: bool = False
    decide_at_input_size: bool = False
    point_cells: int = 3

    def __post_init__(self) -> None:
        """Looks the settings over."""
        for name, known in CHOICES.items():
            if getattr(self, name) not in known:
                raise InputError(f"{name}={getattr(self, name)!r} is unknown; known are {', '.join(known)}.")
        for name, least in LEAST.items():
            if getattr(self, name) < least:
                raise InputError(f"{name}={getattr(self, name)} must be {least} or more.")
        if self.temperature <= 0:
            raise InputError(f"temperature={self.temperature} must be positive.")
        given = {name: getattr(self, name) for name in SIZES if getattr(self, name) is not None}
        if len(given) > 1:
            listed = ", ".join(f"{name}={value}" for name, value in given.items())
            raise InputError(f"{listed}: give one of {', '.join(SIZES)}, and null for the others.")
        for name, value in given.items():
            if name == "size" and len(value) != 2:
                raise InputError(f"size={value} must be a height and a width.")
            if min(value if name == "size" else [value]) < 1:
                raise InputError(f"{name}={value} must be 1 or more.")


# What the released code of each method does; those of other tasks than DAVIS differ in a few settings.
_DINO = PropagationSettings(
    *(7, 5, 0.1, 12, "square", True, False),
    short_side=480,
    other_side_multiple=64,
    frame_resampling="bilinear",
    label_resampling="nearest",
    normalise_labels=True,
    decide_at_input_size=True,
)
_VFS = PropagationSettings(
    *(20, 10, 0.07, 12, "circle", True, False),
    first_frame_twice=True,
    short_side=480,
    frame_resampling="bilinear",
    label_resampling="nearest",
    normalise_labels=True,
)
_CROPMAE = PropagationSettings(
    *(20, 7, 0.7, 20), size=(480, 880), frame_resampling="bilinear", decide_at_input_size=True
)
PRESETS: dict[str, PropagationSettings] = {
    "crw": PropagationSettings(),
    "crw_vip": PropagationSettings(4, size=(560, 560), frame_resampling="bilinear", decide_at_input_size=True),
    "crw_jhmdb": PropagationSettings(7, size=(320, 320), frame_resampling="bilinear"),
    "dino": _DINO,
    "dinov3": PropagationSettings(
        *(7, 5, 0.2, 12, "disk", True, False),
        short_side=960,
        round_up=True,
        label_resampling="nearest",
        normalise_labels=True,
        nearest_upsampling=True,
    ),
    "vfs": _VFS,
    "vfs_resnet50": replace(_VFS, radius=18),
    "dense_ulearn": PropagationSettings(align_corners=True),
    # Frames of 480 x 880 pixels, of which it then takes the longer side as DINO does.
    "rsp": replace(_DINO, context=30, top_k=7, radius=30, short_side=None, size=(480, 832)),
    "cropmae": _CROPMAE,
    "cropmae_vip": replace(_CROPMAE, top_k=10, size=None, long_side=880, other_side_multiple=64),
    "cropmae_jhmdb": replace(_CROPMAE, size=(320, 320), point_cells=5),
    "sfc": PropagationSettings(top_k=15, temperature=0.1, radius=15),
}


def preset(name: str, options: dict[str, Any]) -> PropagationSettings:
    """A preset with options that override its settings.

    Raises:
        InputError: If the preset or an option is unknown.
    """
    if name not in PRESETS:
        raise InputError(f"propagation: unknown preset {name!r}{did_you_mean(name, PRESETS)}")
    known = PropagationSettings.__dataclass_fields__
    for option in options:
        if option not in known:
            raise InputError(f"propagation_options: unknown setting {option!r}{did_you_mean(option, known)}")
    if isinstance(options.get("size"), list):  # as YAML has it
        options = {**options, "size": tuple(options["size"])}
    return replace(PRESETS[name], **options)
