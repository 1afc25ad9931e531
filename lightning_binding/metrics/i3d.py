"""I3D, the standard extractor of FVD, from its TorchScript file."""

from pathlib import Path
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor
from torch_fidelity.interpolate_compat_tensorflow import interpolate_bilinear_2d_like_tensorflow1x

from lightning_binding.errors import InputError
from lightning_binding.metrics.video_extractors import VideoExtractor, check_clips

SIZE = 224


class FrameResize(Protocol):
    """Brings frames to the size that I3D takes.

    Attributes:
        name: What it is called in keys and protocols; None for the reference's.
    """

    name: str | None

    def __call__(self, frames: Tensor) -> Tensor:
        """Maps frames (N, 3, H, W), float in [0, 255], to (N, 3, 224, 224)."""
        ...


class TensorFlowResize:
    """TensorFlow 1's bilinear resize to 224 x 224, whatever the aspect: that of the reference code of FVD."""

    name = None

    def __call__(self, frames: Tensor) -> Tensor:
        """Maps (N, 3, H, W) to (N, 3, 224, 224)."""
        resized: Tensor = interpolate_bilinear_2d_like_tensorflow1x(frames, size=(SIZE, SIZE), align_corners=False)
        return resized


class CropResize:
    """Bilinear resize of the shorter side to 224, then the central crop: that of common_metrics_on_video_quality."""

    name = "crop"

    def __call__(self, frames: Tensor) -> Tensor:
        """Maps (N, 3, H, W) to (N, 3, 224, 224)."""
        scale = SIZE / min(frames.shape[-2:])
        height, width = (max(SIZE, round(side * scale)) for side in frames.shape[-2:])
        frames = F.interpolate(frames, (height, width), mode="bilinear", align_corners=False)
        top, left = (height - SIZE) // 2, (width - SIZE) // 2
        return frames[..., top : top + SIZE, left : left + SIZE]


class ScriptResize:
    """The resize inside the TorchScript file, which is torch's bilinear one: that of StyleGAN-V's code."""

    name = "styleganv"

    def __call__(self, frames: Tensor) -> Tensor:
        """Leaves frames as they are."""
        return frames


class I3D(VideoExtractor):
    """I3D trained on Kinetics-400: its 400 logits, averaged over time, are the features of FVD.

    The file is `i3d_torchscript.pt` of StyleGAN-V, whose call is
    `(videos (N, 3, T, H, W), rescale, resize, return_features)`. This package cannot ship it.

    Args:
        path: The TorchScript file; a file of this kind is a program, so take it from a source that you trust.
        resize: How frames come to 224 pixels; None is `TensorFlowResize`, the reference's. Others are named in keys:
            `ScriptResize` (StyleGAN-V's), `CropResize` (common_metrics_on_video_quality's).
        batch_size: Clips that go through the network at a time.

    Raises:
        InputError: If there is no such file, or it is no TorchScript.
    """

    min_frames = 10  # fewer leave nothing for its last pooling over time

    def __init__(self, path: str, resize: FrameResize | None = None, batch_size: int = 16) -> None:
        super().__init__()
        if batch_size < 1:
            raise InputError(f"batch_size={batch_size} must be 1 or more.")
        file = Path(path).expanduser()
        if not file.is_file():
            raise InputError(
                f"path: there is no file {file}. FVD needs I3D as TorchScript (i3d_torchscript.pt of StyleGAN-V): "
                "bring it to this machine and give its path, or take another extractor (MotionExtractor)."
            )
        try:
            self.network: Any = torch.jit.load(str(file), map_location="cpu")  # type: ignore[no-untyped-call]
        except (RuntimeError, ValueError) as error:
            raise InputError(f"path: {file} is no TorchScript file; expected i3d_torchscript.pt.") from error
        self.resize, self.batch_size = resize or TensorFlowResize(), batch_size
        self.name = None if self.resize.name is None else f"i3d_{self.resize.name}"
        self.preprocessing = f"i3d-{self.resize.name or 'tf1'}-resize-{SIZE}px"
        self.requires_grad_(False).train()

    @torch.no_grad()
    def features_and_logits(self, videos: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (N, 400), which are the features too.

        Raises:
            InputError: If clips are shorter than 10 frames, or the file is of another network.
        """
        check_clips(self, videos)
        logits = torch.cat([self._logits(part) for part in torch.split(videos, self.batch_size)])
        return logits, logits

    def _logits(self, videos: Tensor) -> Tensor:
        frames = self.resize(videos.flatten(0, 1).float())
        inside = isinstance(self.resize, ScriptResize)  # then the file does the scaling to [-1, 1] too
        frames = frames if inside else frames / 127.5 - 1
        clips = frames.view(*videos.shape[:2], *frames.shape[1:]).transpose(1, 2)
        try:
            with torch.jit.optimized_execution(False):  # type: ignore[attr-defined]  # it would compile every shape
                logits: Tensor = self.network(clips, rescale=inside, resize=inside, return_features=True)
        except RuntimeError as error:
            if "argument" not in str(error):
                raise
            raise InputError(
                "path: the file does not take (videos, rescale, resize, return_features): is it i3d_torchscript.pt?"
            ) from error
        if logits.ndim != 2:  # flattened silently it would give a distance that means nothing
            raise InputError(f"path: the file gives features of shape {tuple(logits.shape)}, expected (N, 400).")
        return logits.float()
