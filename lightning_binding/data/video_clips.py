"""Clips out of encoded videos, as a dataset that outlives those which are broken."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lightning_binding.data.broken import BrokenFiles
from lightning_binding.data.clipset import Clip, ClipSet
from lightning_binding.data.crops import ClipCrop
from lightning_binding.data.source import Source
from lightning_binding.errors import InputError
from lightning_binding.video.guarded import DecoderHung, GuardedDecoder, Undecodable


class VideoClips(ClipSet):
    """Clips at random places of videos, decoded when they are read.

    A video that cannot be decoded gives its place to the next one that can, with its label: what an index gives
    depends on the files, the seed and the epoch alone. One that hung the decoder is not tried again, as that would
    take the time again; it is known by the list of the broken ones.

    Args:
        files: Where they are.
        decoder: How they are decoded.
        clip: Arguments of `lightning_binding.video.clip.cut`, beside path and position.
        crop: How frames become squares.
        broken: Where those that cannot be decoded are counted.
        clips_per_video: How often each video stands in an epoch.
        horizontal_flip: Mirror half of the clips.
        seed: Of what is drawn; None draws the same in each epoch.
    """

    def __init__(
        self,
        files: Source,
        decoder: GuardedDecoder,
        clip: dict[str, Any],
        crop: ClipCrop,
        broken: BrokenFiles,
        clips_per_video: int = 1,
        horizontal_flip: bool = False,
        seed: int | None = None,
    ) -> None:
        super().__init__(seed)
        self.files = files
        self.decoder = decoder
        self.clip = clip
        self.crop = crop
        self.broken = broken
        self.clips_per_video = clips_per_video
        self.horizontal_flip = horizontal_flip
        self._hung: set[str] | None = None

    def __len__(self) -> int:
        return self.files.total * self.clips_per_video

    def read(self, index: int, random: np.random.Generator) -> Clip:
        """Decode a clip, crop and mirror it."""
        position, crop_seed, mirrored = random.random(), int(random.integers(2**63)), random.random() < 0.5
        video, label = self._decode(index // self.clips_per_video, position)
        video = self.crop(video, crop_seed)
        if self.horizontal_flip and mirrored:
            video = video.flip(-1)
        return {"video": video} if label < 0 else {"video": video, "label": torch.tensor(label)}

    def _decode(self, first: int, position: float) -> tuple[Tensor, int]:
        """A clip of a video, or of the next that can be decoded."""
        if self._hung is None:
            self._hung = self.broken.listed(DecoderHung.__name__)
        count = self.files.total
        for place in itertools.chain(range(first, count), range(first)):
            if self._hung and self.files.full_path(place) in self._hung:
                continue
            with self.files.opened(place) as (encoded, label):
                try:
                    return self.decoder.cut(encoded, position, **self.clip), label
                except Undecodable as error:
                    path = self.files.full_path(place)
                    if isinstance(error, DecoderHung):
                        self._hung.add(path)
                    self.broken.add(path, error)
        raise InputError(f"None of {count} videos under {self.files.root} can be decoded; see {self.broken.file}.")
