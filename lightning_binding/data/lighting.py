"""Light that changes over a clip, and the noise of a camera: what makes the colour of a thing no proof of it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

PERIOD = (8.0, 32.0)
"""Range of the frames in which the light swings to and fro."""


class Lighting(NamedTuple):
    """How the light changes.

    Attributes:
        swing: Most that the brightness of a colour channel swings to either side, as a share of it, in [0, 1). Half
            of it is common to the channels, half is each channel's own: a tint.
        noise: Standard deviation of the noise of a pixel, in grey levels.
    """

    swing: float = 0.0
    noise: float = 0.0

    def __call__(self, random: np.random.Generator, video: Tensor) -> Tensor:
        """Lights a clip.

        Args:
            random: Where all random numbers come from; none is drawn where nothing changes.
            video: uint8 `(T, 3, H, W)` in [0, 255].

        Returns:
            The same shape and type.
        """
        if not self.swing and not self.noise:
            return video
        lit = video.float()
        if self.swing:
            lit *= torch.from_numpy(self.gain(random, len(video))).float()[:, :, None, None]
        if self.noise:
            lit += torch.from_numpy(random.standard_normal(video.shape, np.float32)) * self.noise
        return lit.round_().clamp_(0, 255).to(torch.uint8)

    def gain(self, random: np.random.Generator, frames: int) -> np.ndarray:
        """Factors on red, green and blue, `(frames, 3)` within 1 ± swing."""
        period, phase = random.uniform(*PERIOD, 4), random.uniform(0, 2 * np.pi, 4)
        waves = np.sin(2 * np.pi * np.arange(frames)[:, None] / period + phase)
        swung: np.ndarray = 1 + self.swing * (waves[:, :1] + waves[:, 1:]) / 2
        return swung
