"""Rendered video: scenes of Doom with exact instance masks, perspective, occlusion and a camera that moves."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from lightning_binding.data.clipset import Clip, ClipSet, SequenceSet, VideoSequence
from lightning_binding.data.davis_layout import write_davis
from lightning_binding.data.doom_game import open_game, scenario_file, screen_resolution
from lightning_binding.data.doom_record import Game, Recording, dense_ids, record
from lightning_binding.data.videobase import VideoDataModule
from lightning_binding.errors import InputError

TRIES = 50
"""Episodes that are begun before a scenario is found not to give what is asked for."""
WARM_UP = 60
"""Most frames before a recording."""


class Studio:
    """Plays scenarios and records them; each process that uses it has games of its own, opened when needed.

    Args:
        scenarios: Names or files.
        resolution: Height and width of what the game renders.
        tics: Of the game from one frame to the next.
        shrink: By which frames are made smaller.
        opener: What opens a game: scenario, height and width to the game.
    """

    def __init__(
        self,
        scenarios: Sequence[str],
        resolution: tuple[int, int],
        tics: int,
        shrink: int,
        opener: Callable[[str, int, int], Game] = open_game,
    ) -> None:
        self.scenarios = list(scenarios)
        self.resolution = resolution
        self.tics = tics
        self.shrink = shrink
        self.opener = opener
        self._games: dict[tuple[int, str], Game] = {}

    def __getstate__(self) -> dict[str, object]:
        """Games stay in their process."""
        return {**self.__dict__, "_games": {}}

    def take(
        self, which: int, random: np.random.Generator, frames: int, good: Callable[[Recording], bool] | None = None
    ) -> Recording:
        """Record from new episodes until one lasts, and is good.

        Args:
            which: Number that picks the scenario, in turn.
            random: On which alone the recording depends.
            frames: Length.
            good: Whether a recording will do.

        Raises:
            InputError: None will.
        """
        scenario = self.scenarios[which % len(self.scenarios)]
        key = os.getpid(), scenario  # a forked process must not talk to the games of its parent
        if key not in self._games:
            self._games[key] = self.opener(scenario, *self.resolution)
        for _ in range(TRIES):
            found = record(self._games[key], random, frames, self.tics, WARM_UP, self.shrink)
            if found is not None and (good is None or good(found)):
                return found
        raise InputError(
            f"none of {TRIES} episodes of {scenario} lasts for {frames} frames and shows an object in the first; set "
            f"frames (or eval_frames) or tics lower, or choose another scenario."
        )

    def close(self) -> None:
        """End the games of this process; the next recording opens new ones."""
        for key in [key for key in self._games if key[0] == os.getpid()]:
            self._games.pop(key).close()


class DoomClips(ClipSet):
    """Clips that are played when they are read.

    Args:
        studio: Who plays.
        clips: Length of an epoch.
        frames: Length of a clip.
        seed: Of everything that happens; None plays the same in each epoch.
    """

    def __init__(self, studio: Studio, clips: int, frames: int, seed: int | None) -> None:
        super().__init__(seed)
        self.studio = studio
        self.clips = clips
        self.frames = frames

    def __len__(self) -> int:
        return self.clips

    def read(self, index: int, random: np.random.Generator) -> Clip:
        """Play a clip."""
        found = self.studio.take(index, random, self.frames)
        return {"video": found.video, "mask": dense_ids(found.objects)}


class DoomSequences(SequenceSet):
    """Sequences that are played when they are read, always the same.

    Args:
        studio: Who plays.
        sequences: Number of sequences.
        frames: Length of a sequence.
        least_area: Share of the first frame that something must fill to be an object of the sequence.
    """

    def __init__(self, studio: Studio, sequences: int, frames: int, least_area: float) -> None:
        self.studio = studio
        self.sequences = sequences
        self.frames = frames
        self.least_area = least_area

    def __len__(self) -> int:
        return self.sequences

    def __getitem__(self, index: int) -> VideoSequence:
        """Play a sequence.

        Raises:
            IndexError: An index outside the data; plain iteration ends by it.
        """
        if not 0 <= index < self.sequences:
            raise IndexError(f"index {index} is outside the {self.sequences} sequences.")
        random = np.random.default_rng([0, index])

        def pixels(recording: Recording) -> int:
            return max(1, round(self.least_area * recording.objects[0].numel()))

        found = self.studio.take(
            index, random, self.frames, lambda take: bool(dense_ids(take.objects[:1], pixels(take)).any())
        )
        return {
            "video": found.video,
            "mask": dense_ids(found.objects, pixels(found)),
            "name": f"doom-{index:04d}",
            "frame_names": [f"{frame:05d}" for frame in range(self.frames)],
        }


class DoomScenesDataModule(VideoDataModule):
    """Walks through Doom, with the exact masks of monsters and things: perspective, occlusion, a camera that moves.

    They are rendered while they are read by ViZDoom (extra `doom`), whose free pictures come with it. Each clip is an
    episode of its own, a function of the seed, the epoch and the index; the held-out sequences are other episodes, the
    same whatever the seed. Their objects are those that show in the first frame: what appears later, what is smaller
    than `least_area`, and shots are background.

    Args:
        scenarios: ViZDoom's scenarios, by name or by the path of a `.cfg`, which are taken in turn; None:
            `defend_the_line` (monsters that come near) and `health_gathering` (things on the floor).
        eval_scenarios: Those of the held-out sequences; None: the same.
        resolution: Height and width that the game renders, one of ViZDoom's; [480, 640] is near DAVIS's.
        shrink: Frames are made smaller by this factor: [240, 320] and 4 give 60 by 80 pixels.
        frames: Length of a training clip.
        tics: Of the game from one frame to the next; a second has 35.
        train_clips: Number of clips that count as an epoch; every epoch has new ones.
        eval_sequences: Number of held-out sequences.
        eval_frames: Length of a held-out sequence.
        least_area: Share of the first frame that something must fill to be an object of a held-out sequence.
        batch_size: Clips in a training batch, on each device.
        num_workers: Processes that play ahead; 0 plays in the main process.
        seed: Of everything that happens in training.

    Raises:
        InputError: Numbers that make no clip; on set-up: ViZDoom is not installed, or has no such scenario or
            resolution.
    """

    def __init__(
        self,
        scenarios: list[str] | None = None,
        eval_scenarios: list[str] | None = None,
        resolution: tuple[int, int] = (240, 320),
        shrink: int = 1,
        frames: int = 4,
        tics: int = 2,
        train_clips: int = 4096,
        eval_sequences: int = 20,
        eval_frames: int = 40,
        least_area: float = 0.003,
        batch_size: int = 8,
        num_workers: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__(batch_size, num_workers, seed)
        numbers = {"shrink": shrink, "frames": frames, "tics": tics, "train_clips": train_clips}
        for name, value in {**numbers, "eval_sequences": eval_sequences, "eval_frames": eval_frames}.items():
            if value < 1:
                raise InputError(f"{name} is {value}; it must be 1 or more.")
        if any(size % shrink for size in resolution):
            raise InputError(f"shrink is {shrink}, which does not divide the resolution {list(resolution)}.")
        if not 0 < least_area < 1:
            raise InputError(f"least_area is {least_area}; it must be a share in (0, 1).")
        self.scenarios = ["defend_the_line", "health_gathering"] if scenarios is None else scenarios
        self.eval_scenarios = self.scenarios if eval_scenarios is None else eval_scenarios
        if not self.scenarios or not self.eval_scenarios:
            raise InputError("scenarios is empty; name one or more of ViZDoom's, such as defend_the_line.")
        self.resolution = resolution
        self.shrink = shrink
        self.frames = frames
        self.tics = tics
        self.train_clips = train_clips
        self.eval_sequences = eval_sequences
        self.eval_frames = eval_frames
        self.least_area = least_area
        self._studios: list[Studio] = []

    def setup(self, stage: str) -> None:
        """Look for ViZDoom, the scenarios and the resolution, so that what is missing is found first."""
        screen_resolution(*self.resolution)
        for scenario in [*self.scenarios, *self.eval_scenarios]:
            scenario_file(scenario)

    def train_set(self) -> DoomClips:
        """Clips of new episodes."""
        return DoomClips(self._studio(self.scenarios), self.train_clips, self.frames, self.seed)

    def eval_set(self) -> DoomSequences:
        """Sequences of episodes that are not those of training."""
        studio = self._studio(self.eval_scenarios)
        return DoomSequences(studio, self.eval_sequences, self.eval_frames, self.least_area)

    def write_davis(self, root: str, lossless: bool = False) -> Path:
        """Write the held-out sequences in the layout of DAVIS 2017, so that other tools can read them.

        Args:
            root: The folder, which is made.
            lossless: Whether frames are PNGs instead of JPEGs.
        """
        return write_davis(self.eval_set(), root, lossless=lossless)

    def teardown(self, stage: str) -> None:
        """Ends the games of the main process; those of workers end with them."""
        while self._studios:
            self._studios.pop().close()

    def _studio(self, scenarios: list[str]) -> Studio:
        self._studios.append(Studio(scenarios, self.resolution, self.tics, self.shrink))
        return self._studios[-1]
