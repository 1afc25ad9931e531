"""Scenes of moving sprites: who appears, how they move, and what lies behind them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from lightning_binding.data.backgrounds import Background, texture
from lightning_binding.data.clipset import Clip
from lightning_binding.data.compositing import premultiply
from lightning_binding.data.lighting import Lighting
from lightning_binding.data.sprite_motion import Motion, draw_path, draw_tracks, fold
from lightning_binding.data.sprite_render import Scene, render
from lightning_binding.errors import InputError

DRIFT = 0.15
"""How far the camera drifts to either side, as a share of the frame's shorter side."""
TRIES = 200
"""Scenes that are drawn before sprites are found to be too many or too small."""


class Stage(NamedTuple):
    """How sprites are shown.

    Attributes:
        height: Of the frames.
        width: Of the frames.
        sprites: Least and most number of sprites.
        motion: Of the sprites.
        background: What lies behind them.
        camera: Most that the background moves from one frame to the next, as a share of the frame's shorter side.
        lighting: How the light changes.
    """

    height: int = 64
    width: int = 64
    sprites: tuple[int, int] = (2, 4)
    motion: Motion = Motion()
    background: Background = texture
    camera: float = 0.01
    lighting: Lighting = Lighting()


def draw_scene(random: np.random.Generator, pixels: Tensor, stage: Stage, frames: int) -> Scene:
    """Draw which sprites there are, how they move, and what lies behind them."""
    height, width = stage.height, stage.width
    count = int(random.integers(stage.sprites[0], stage.sprites[1] + 1))
    chosen = random.choice(len(pixels), count, replace=count > len(pixels))
    tracks = draw_tracks(random, count, frames, height, width, stage.motion)
    # Each tile is as large as its sprite becomes: what is left to the bilinear sampling is to turn and to shift it.
    sides = np.ceil(tracks.side.max(1)).astype(int)
    tiles = [premultiply(pixels[i : i + 1], int(side))[0].float() for i, side in zip(chosen, sides, strict=True)]
    unit = min(height, width)
    margin = int(np.ceil(DRIFT * unit)) if stage.camera > 0 else 0
    path = draw_path(random, 1, frames, (0, stage.camera * unit))
    camera = np.stack([fold(way[0] + random.uniform(0, 2 * margin), 0, 2 * margin) for way in path], 1)
    background = stage.background(random, height + 2 * margin, width + 2 * margin)
    return Scene(height, width, background, camera, tiles, tracks)


def moving_sprites(
    random: np.random.Generator, pixels: Tensor, stage: Stage, frames: int, least_area: float = 0.0
) -> Clip:
    """Draw and render a clip.

    Args:
        random: Where all random numbers come from.
        pixels: Pictures of the sprites, uint8 `(N, 4, h, h)` in [0, 255] with straight alpha; a clip has none twice
            where there are enough.
        stage: How they are shown.
        frames: Length of the clip.
        least_area: Share of the first frame that each sprite must fill, not counting what others hide; scenes are drawn
            until one is found.

    Returns:
        `video` uint8 `(T, 3, H, W)` in [0, 255] and `mask` uint8 `(T, H, W)`: 0 is background, and ids count from 1,
        from the lowest sprite to the topmost.

    Raises:
        InputError: No such scene is found.
    """
    for _ in range(TRIES):
        scene = draw_scene(random, pixels, stage, frames)
        if least_area > 0:
            area = torch.bincount(render(scene, 0, 1)["mask"].flatten(), minlength=len(scene.tiles) + 1)[1:]
            if area.min() < least_area * stage.height * stage.width:
                continue
        clip = render(scene)
        return {**clip, "video": stage.lighting(random, clip["video"])}
    raise InputError(
        f"in none of {TRIES} scenes, each of {stage.sprites[0]} to {stage.sprites[1]} sprites, do all of them fill "
        f"{least_area:.1%} of the first frame; use fewer sprites, or a larger sprite_size."
    )
