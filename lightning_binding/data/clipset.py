"""Datasets of video: clips to train on, read a batch at a time, and whole sequences to evaluate on."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import NotRequired, TypedDict

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from lightning_binding.data.sampling import Draw


class Clip(TypedDict):
    """A clip of training.

    Attributes:
        video: Frames uint8 `(T, 3, H, W)` in [0, 255]; a batch has `(B, T, 3, H, W)`.
        mask: Object ids uint8 `(T, H, W)`, 0 is background; where the data has them.
        label: Class of the clip, int64 `()`; where the data has them.
    """

    video: Tensor
    mask: NotRequired[Tensor]
    label: NotRequired[Tensor]


class VideoSequence(TypedDict):
    """A whole video with annotations; evaluation reads one at a time.

    Attributes:
        video: Frames uint8 `(T, 3, H, W)` in [0, 255].
        name: Of the sequence.
        frame_names: Names of the frames without an ending, T of them, as result files are called.
        mask: Object ids uint8 `(T, H, W)`, 255 is void; where the data has masks.
        points: Places `(T, K, 2)` float32 as x and y in pixels, NaN where a point is not seen; where it has points.
    """

    video: Tensor
    name: str
    frame_names: list[str]
    mask: NotRequired[Tensor]
    points: NotRequired[Tensor]


class ClipSet(Dataset[Clip]):
    """A map-style dataset of clips whose `__getitems__` reads whole batches.

    Args:
        seed: Of what is drawn for a clip. With a seed the draws change from epoch to epoch; None draws the same always.
    """

    def __init__(self, seed: int | None) -> None:
        self.seed = seed

    @abstractmethod
    def __len__(self) -> int:
        """Number of clips in an epoch."""

    @abstractmethod
    def read(self, index: int, random: np.random.Generator) -> Clip:
        """Reads a clip.

        Args:
            index: Its place in the data.
            random: Random numbers that depend on the seed, the epoch and the index alone, so that neither the number
                of workers nor a restart changes them.
        """

    def __getitem__(self, draw: int | Draw) -> Clip:
        """Reads one clip; an index alone is of epoch 0.

        Raises:
            IndexError: An index outside the data; plain iteration ends by it.
        """
        index, epoch = draw if isinstance(draw, tuple) else (draw, 0)
        if not 0 <= index < len(self):
            raise IndexError(f"index {index} is outside the {len(self)} clips.")
        key = [0, 0, index] if self.seed is None else [1 + self.seed, epoch, index]
        return self.read(index, np.random.default_rng(key))

    def __getitems__(self, draws: Sequence[int | Draw]) -> Clip:
        """Reads a batch; `DataLoader` calls this with all draws of one."""
        clips = [self[draw] for draw in draws]
        return {key: torch.stack([clip[key] for clip in clips]) for key in clips[0]}  # type: ignore[return-value,literal-required]


class SequenceSet(Dataset[VideoSequence]):
    """A map-style dataset of whole sequences."""

    @abstractmethod
    def __len__(self) -> int:
        """Number of sequences."""

    @abstractmethod
    def __getitem__(self, index: int) -> VideoSequence:
        """Reads a sequence."""
