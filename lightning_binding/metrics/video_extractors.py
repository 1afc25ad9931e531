"""What turns clips into the features that sets of them are compared in."""

import torch
from torch import Tensor, nn

from lightning_binding.errors import InputError
from lightning_binding.metrics.extractors import Extractor, TimmExtractor


class VideoExtractor(Extractor):
    """Clips uint8 (N, T, 3, H, W) to features and logits, always in evaluation mode.

    Attributes:
        min_frames: Least length of a clip.
    """

    min_frames: int = 1


def check_length(extractor: nn.Module, videos: Tensor) -> None:
    """Raises an `InputError` if clips (B, T, 3, H, W) have fewer frames than an extractor needs."""
    least = int(getattr(extractor, "min_frames", 1))
    if videos.shape[1] < least:
        raise InputError(
            f"a clip of {videos.shape[1]} frames is too short for {type(extractor).__name__}, which needs {least}: "
            "take longer clips, or another extractor (MotionExtractor needs 2 frames)."
        )


def check_clips(extractor: VideoExtractor, videos: Tensor) -> None:
    """Raises an `InputError` unless clips are uint8 (N, T, 3, H, W) and long enough for the extractor."""
    if videos.dtype != torch.uint8 or videos.ndim != 5 or videos.shape[2] != 3:
        raise InputError(
            f"clips of type {videos.dtype} and shape {tuple(videos.shape)} were given to an extractor; expected "
            "uint8 (N, T, 3, H, W) in [0, 255]."
        )
    check_length(extractor, videos)


class MotionExtractor(VideoExtractor):
    """What frames show and how much it changes, in the features f_t of an extractor of pictures.

    Features are [mean of f_t, mean of |f_{t+1} - f_t|]: the first half knows nothing of the order of frames, the second
    is large where frames are shuffled and zero where nothing moves. Works offline with the embedded classifier of
    emoji; distances between such features are their own, and no FVD.

    Args:
        frames: Extractor of the frames; None is the embedded classifier of emoji.
    """

    min_frames = 2

    def __init__(self, frames: TimmExtractor | None = None) -> None:
        super().__init__()
        self.frames = frames or TimmExtractor()
        self.name = f"{self.frames.name}_motion"
        self.preprocessing = f"{self.frames.preprocessing}-motion"
        self.train()

    @torch.no_grad()
    def features_and_logits(self, videos: Tensor) -> tuple[Tensor, Tensor]:
        """Features (N, 2 d), and the frames' logits averaged over time (N, classes)."""
        check_clips(self, videos)
        count, length = videos.shape[:2]
        features, logits = self.frames.features_and_logits(videos.flatten(0, 1))
        features = features.view(count, length, -1)
        change = (features[:, 1:] - features[:, :-1]).abs().mean(dim=1)
        return torch.cat([features.mean(dim=1), change], dim=1), logits.view(count, length, -1).mean(dim=1)
