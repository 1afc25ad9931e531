"""The embedded video: emoji that move, turn, grow and occlude one another, with exact instance masks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lightning_binding.data.backgrounds import create_background
from lightning_binding.data.clipset import Clip, ClipSet, SequenceSet, VideoSequence
from lightning_binding.data.davis_layout import write_davis
from lightning_binding.data.emoji_archive import VENDORS, load_emoji
from lightning_binding.data.lighting import Lighting
from lightning_binding.data.sprite_motion import Motion
from lightning_binding.data.sprite_scene import Stage, moving_sprites
from lightning_binding.data.videobase import VideoDataModule
from lightning_binding.errors import InputError
from lightning_binding.names import did_you_mean


class SpriteClips(ClipSet):
    """Clips that are drawn when they are read.

    Args:
        pixels: Pictures of the sprites, uint8 `(N, 4, h, h)` in [0, 255] with straight alpha.
        stage: How they are shown.
        clips: Length of an epoch.
        frames: Length of a clip.
        seed: Of everything that is drawn; None draws the same in each epoch.
    """

    def __init__(self, pixels: Tensor, stage: Stage, clips: int, frames: int, seed: int | None) -> None:
        super().__init__(seed)
        self.pixels = pixels
        self.stage = stage
        self.clips = clips
        self.frames = frames

    def __len__(self) -> int:
        return self.clips

    def read(self, index: int, random: np.random.Generator) -> Clip:
        """Draw a clip."""
        return moving_sprites(random, self.pixels, self.stage, self.frames)


class SpriteSequences(SequenceSet):
    """Sequences that are drawn when they are read, always the same; each object shows in the first frame.

    Args:
        pixels: Pictures of the sprites, uint8 `(N, 4, h, h)` in [0, 255] with straight alpha.
        stage: How they are shown.
        sequences: Number of sequences.
        frames: Length of a sequence.
        least_area: Share of the first frame that each object fills.
    """

    def __init__(self, pixels: Tensor, stage: Stage, sequences: int, frames: int, least_area: float = 0.005) -> None:
        self.pixels = pixels
        self.stage = stage
        self.sequences = sequences
        self.frames = frames
        self.least_area = least_area

    def __len__(self) -> int:
        return self.sequences

    def __getitem__(self, index: int) -> VideoSequence:
        """Draw a sequence.

        Raises:
            IndexError: An index outside the data; plain iteration ends by it.
        """
        if not 0 <= index < self.sequences:
            raise IndexError(f"index {index} is outside the {self.sequences} sequences.")
        random = np.random.default_rng([0, index])
        clip = moving_sprites(random, self.pixels, self.stage, self.frames, self.least_area)
        return {
            "video": clip["video"],
            "mask": clip["mask"],
            "name": f"sprites-{index:04d}",
            "frame_names": [f"{frame:05d}" for frame in range(self.frames)],
        }


class MovingSpritesDataModule(VideoDataModule):
    """Emoji that move, turn, grow and occlude one another over a drifting background, with exact instance masks.

    Nothing is downloaded: the emoji ship inside the package, and each clip is drawn when it is read, from the seed, the
    epoch and its index. Evaluation has its own emoji, a tenth of them, which no training clip shows, and its sequences
    are the same whatever the seed; each of their objects shows in the first frame, so that its mask can be propagated.
    Lengths are shares of the frame's shorter side, so a recipe carries over to another frame size.

    Args:
        frame_size: Height and width of the frames in pixels, one number or two.
        frames: Length of a training clip.
        train_clips: Number of clips that count as an epoch; every epoch has new ones.
        eval_sequences: Number of held-out sequences.
        eval_frames: Length of a held-out sequence.
        sprites: Least and most number of objects.
        sprite_size: Range of the side of the square that holds an object, as a share of the shorter side.
        speed: Range of an object's way from one frame to the next, as a share of the shorter side.
        spin: Range of an object's turn from one frame to the next in degrees, either way round.
        zoom: Range of an object's growth or shrinking from one frame to the next; 0.02 is 2 %.
        background: `texture` (coloured noise of many scales), `plain` (one colour), or a folder of pictures, such as
            frames of real videos, of which training and evaluation take random pieces.
        camera: Most that the background drifts from one frame to the next, as a share of the shorter side.
        lighting: Most that brightness and tint of a clip swing to either side, as a share, in [0, 1).
        noise: Standard deviation of the noise of a pixel, in grey levels.
        batch_size: Clips in a training batch, on each device.
        num_workers: Processes that draw ahead; 0 draws in the main process.
        seed: Of everything that is drawn for training.
        vendors: Whose drawings to use, of `twitter` and `google`; None: both.
        skin_tones: Whether to use the drawings with a skin tone as well; half of all drawings are those.

    Raises:
        InputError: Sizes, numbers or ranges that make no clip, an unknown vendor, or a folder without pictures.
    """

    def __init__(
        self,
        frame_size: int | tuple[int, int] = 64,
        frames: int = 4,
        train_clips: int = 4096,
        eval_sequences: int = 20,
        eval_frames: int = 24,
        sprites: tuple[int, int] = (2, 4),
        sprite_size: tuple[float, float] = (0.25, 0.5),
        speed: tuple[float, float] = (0.01, 0.04),
        spin: tuple[float, float] = (0.0, 8.0),
        zoom: tuple[float, float] = (0.0, 0.03),
        background: str = "texture",
        camera: float = 0.01,
        lighting: float = 0.0,
        noise: float = 0.0,
        batch_size: int = 8,
        num_workers: int = 0,
        seed: int = 0,
        vendors: list[str] | None = None,
        skin_tones: bool = False,
    ) -> None:
        super().__init__(batch_size, num_workers, seed)
        height, width = (frame_size, frame_size) if isinstance(frame_size, int) else frame_size
        vendors = list(VENDORS) if vendors is None else vendors
        sizes = {"frame_size": min(height, width), "frames": frames, "train_clips": train_clips}
        for name, value in {**sizes, "eval_sequences": eval_sequences, "eval_frames": eval_frames}.items():
            if value < 1:
                raise InputError(f"{name} is {value}; it must be 1 or more.")
        if not 1 <= sprites[0] <= sprites[1] <= 254:
            raise InputError(
                f"sprites is {sprites}; it must be the least and the most number, 1 <= least <= most <= 254."
            )
        if camera < 0:
            raise InputError(f"camera is {camera}; it must be 0 (a background that stands still) or more.")
        if not 0 <= lighting < 1:
            raise InputError(f"lighting is {lighting}; it must be a share in [0, 1).")
        if noise < 0:
            raise InputError(f"noise is {noise}; it must be 0 (none) or more grey levels.")
        for vendor in vendors or [""]:
            if vendor not in VENDORS:
                raise InputError(f"vendors names {vendor!r}, of whom there are no emoji{did_you_mean(vendor, VENDORS)}")
        motion = Motion(sprite_size, speed, spin, zoom)
        motion.check()
        self.frames = frames
        self.train_clips = train_clips
        self.eval_sequences = eval_sequences
        self.eval_frames = eval_frames
        self.vendors = vendors
        self.skin_tones = skin_tones
        light = Lighting(lighting, noise)
        self.stage = Stage(height, width, sprites, motion, create_background(background), camera, light)

    def train_set(self) -> SpriteClips:
        """Clips of the training emoji."""
        return SpriteClips(self._pixels(False), self.stage, self.train_clips, self.frames, self.seed)

    def eval_set(self) -> SpriteSequences:
        """Sequences of the held-out emoji."""
        return SpriteSequences(self._pixels(True), self.stage, self.eval_sequences, self.eval_frames)

    def write_davis(self, root: str, lossless: bool = False) -> Path:
        """Write the held-out sequences in the layout of DAVIS 2017, so that other tools can read them.

        Args:
            root: The folder, which is made.
            lossless: Whether frames are PNGs instead of JPEGs.
        """
        return write_davis(self.eval_set(), root, lossless=lossless)

    def _pixels(self, held_out: bool) -> Tensor:
        """The emoji of one side of the split."""
        emoji = load_emoji()
        chosen = (emoji.held_out == held_out) & np.isin(emoji.vendor, self.vendors)
        if not self.skin_tones:
            chosen &= ~emoji.is_variant
        return emoji.pixels[torch.from_numpy(chosen)]
