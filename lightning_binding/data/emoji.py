"""The embedded default: emoji at 32 px, composited on plain colours."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lightning_binding.data.base import BindingDataModule
from lightning_binding.data.compositing import composite, premultiply
from lightning_binding.data.emoji_archive import CLASS_NAMES, VENDORS, load_emoji
from lightning_binding.data.imageset import ImageBatch, ImageSet
from lightning_binding.errors import InputError
from lightning_binding.names import did_you_mean


class EmojiSet(ImageSet):
    """Emoji over plain colours, all in memory.

    Args:
        premultiplied: `(N, 4, H, W)` uint8, each colour at most alpha.
        label: `(N,)` int64.
        seed: Of the colours and flips; None: one fixed colour for each image, whatever the run, and no flip.
        horizontal_flip: Mirror half of the images.
    """

    def __init__(self, premultiplied: Tensor, label: Tensor, seed: int | None, horizontal_flip: bool = False) -> None:
        super().__init__(seed, horizontal_flip)
        self.premultiplied = premultiplied
        self.label = label

    def __len__(self) -> int:
        return len(self.label)

    def read(self, index: npt.NDArray[np.int64], random: npt.NDArray[np.uint8]) -> ImageBatch:
        """Composite a batch on the colours of the first three random bytes."""
        chosen = torch.from_numpy(index)
        background = torch.from_numpy(random[:, :3].copy())
        return {"image": composite(self.premultiplied[chosen], background), "label": self.label[chosen]}


class EmojiDataModule(BindingDataModule):
    """Twemoji and Noto emoji on random plain colours; the label is the emoji's category, of nine.

    They ship inside the package (see `embedded/ATTRIBUTION.md`): nothing is downloaded. A tenth of the emoji is held
    out for validation and test; genders, skin tones and both vendors' drawings of one emoji are on the same side.
    Training images get a new colour in each epoch; held-out and reference images keep one.

    Args:
        image_size: Height and width of the images; 32 is how they are stored, 16 or 8 averages boxes, any other size is
            an antialiased bicubic resize.
        batch_size: Images in a training batch, on each device.
        eval_batch_size: Images in a batch of evaluation and reference, on each device; None: `batch_size`.
        num_workers: Processes that read ahead; the images are in memory, so 0 is fast enough.
        seed: Of the orders, colours and flips.
        skin_tones: Whether to include the drawings with a skin tone. They are half of all images, and all of them
            people.
        vendors: Whose drawings to use, of `twitter` and `google`; None: both.
        horizontal_flip: Whether to mirror half of the training images. Off, because letters, clocks, arrows and flags
            are wrong when mirrored.

    Raises:
        InputError: An unknown vendor, or wrong sizes.
    """

    def __init__(
        self,
        image_size: int = 32,
        batch_size: int = 128,
        eval_batch_size: int | None = None,
        num_workers: int = 0,
        seed: int = 0,
        skin_tones: bool = True,
        vendors: list[str] | None = None,
        horizontal_flip: bool = False,
    ) -> None:
        super().__init__(image_size, batch_size, eval_batch_size, num_workers, seed)
        vendors = list(VENDORS) if vendors is None else vendors
        if not vendors:
            raise InputError(f"vendors is empty; name some of {', '.join(VENDORS)}.")
        for vendor in vendors:
            if vendor not in VENDORS:
                raise InputError(f"vendors names {vendor!r}, of whom there are no emoji{did_you_mean(vendor, VENDORS)}")
        self.skin_tones = skin_tones
        self.vendors = vendors
        self.horizontal_flip = horizontal_flip
        self._sides: dict[bool, tuple[Tensor, Tensor]] = {}

    @property
    def class_names(self) -> list[str]:
        """The emoji categories of Unicode, without its skin-tone swatches."""
        return list(CLASS_NAMES)

    def cache_key(self) -> str:
        """The options that change the reference images."""
        return f"{super().cache_key()}-{'-'.join(self.vendors)}-{'tones' if self.skin_tones else 'plain'}"

    def train_set(self) -> EmojiSet:
        """The training emoji on random colours."""
        return EmojiSet(*self._side(False), seed=self.seed, horizontal_flip=self.horizontal_flip)

    def eval_set(self) -> EmojiSet:
        """The held-out emoji on fixed colours."""
        return EmojiSet(*self._side(True), seed=None)

    def reference_set(self) -> EmojiSet:
        """The training emoji on fixed colours."""
        return EmojiSet(*self._side(False), seed=None)

    def _side(self, held_out: bool) -> tuple[Tensor, Tensor]:
        """Images `(N, 4, H, W)`, multiplied by alpha, and labels `(N,)` of one side of the split; made once."""
        if held_out not in self._sides:
            emoji = load_emoji()
            chosen = (emoji.held_out == held_out) & np.isin(emoji.vendor, self.vendors)
            if not self.skin_tones:
                chosen &= ~emoji.is_variant
            pixels = emoji.pixels[torch.from_numpy(chosen)]
            self._sides[held_out] = premultiply(pixels, self.image_size), torch.from_numpy(emoji.label[chosen])
        return self._sides[held_out]
