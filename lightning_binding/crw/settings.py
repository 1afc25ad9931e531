"""How labels are propagated: the settings that published methods were scored with.

Numbers of different papers compare only where all of these agree.
"""

from collections.abc import Container
from dataclasses import dataclass, replace
from typing import Any

from lightning_binding.errors import InputError
from lightning_binding.names import did_you_mean


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
        short_side: Frames are resized so that the shorter side has these pixels; None leaves them as they are.
        square: Frames are squeezed to a square of these pixels, whatever their shape, in place of `short_side`.
        multiple_of: Frames are resized to a multiple of this number of pixels, or of the stride if that is None.
        normalise_labels: Stretch each label channel of a frame to [0, 1] before the largest is taken.
        nearest_upsampling: Bring soft labels to the size of the video by nearest neighbours, else bilinearly.
    """

    context: int = 20
    top_k: int = 10
    temperature: float = 0.05
    radius: float = 12
    shape: str = "circle"
    window_first_frame: bool = False
    pad_with_first_frame: bool = True
    short_side: int | None = None
    square: int | None = None
    multiple_of: int | None = None
    normalise_labels: bool = False
    nearest_upsampling: bool = False

    def check(self, shapes: Container[str]) -> None:
        """Raises an `InputError` if a setting is out of range."""
        if self.shape not in shapes:
            raise InputError(f"unknown window shape {self.shape!r}; known are circle, disk, square.")
        for name, least in (("context", 0), ("top_k", 1), ("radius", 0)):
            if getattr(self, name) < least:
                raise InputError(f"{name}={getattr(self, name)} must be {least} or more.")
        if self.temperature <= 0:
            raise InputError(f"temperature={self.temperature} must be positive.")


PRESETS: dict[str, PropagationSettings] = {
    # The released code of each method; those of other tasks than DAVIS differ in context and size alone.
    "crw": PropagationSettings(),
    "crw_vip": PropagationSettings(context=4, square=560),
    "crw_jhmdb": PropagationSettings(context=7, square=320),
    "dino": PropagationSettings(
        7, 5, 0.1, 12, "square", True, False, short_side=480, multiple_of=64, normalise_labels=True
    ),
    "dinov3": PropagationSettings(
        7, 5, 0.2, 12, "disk", True, False, short_side=960, normalise_labels=True, nearest_upsampling=True
    ),
    "vfs": PropagationSettings(20, 10, 0.07, 12, "square", True, False),
    "vfs_resnet50": PropagationSettings(20, 10, 0.07, 18, "square", True, False),
    "dense_ulearn": PropagationSettings(20, 10, 0.05, 12, "circle", False, False),
    "rsp": PropagationSettings(30, 7, 0.1, 30, "square", True, False),
    "cropmae": PropagationSettings(20, 7, 0.7, 20, "circle", False, False),
    "cropmae_vip": PropagationSettings(20, 10, 0.7, 20, "circle", False, False),
    "sfc": PropagationSettings(20, 15, 0.1, 15, "circle", False, False),
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
    return replace(PRESETS[name], **options)
