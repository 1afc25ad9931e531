"""The embedded default: emoji at 32 px, composited on plain colours."""

from __future__ import annotations

import functools
import hashlib
import io
from collections.abc import Sequence
from importlib import resources
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

from lightning_binding.data.base import BindingDataModule, ImageBatch, ImageSet
from lightning_binding.data.draws import draw_bytes
from lightning_binding.data.sampling import Draw
from lightning_binding.errors import InputError

HELD_OUT = 0.1
"""Share of the groups that the hash of their name sends to the held-out side."""
VENDORS = ("twitter", "google")
CLASS_NAMES = (
    "Activities",
    "Animals & Nature",
    "Flags",
    "Food & Drink",
    "Objects",
    "People & Body",
    "Smileys & Emotion",
    "Symbols",
    "Travel & Places",
)


class Emoji(NamedTuple):
    """The archive: `pixels` `(N, 4, 32, 32)` uint8 with straight alpha, and arrays of `N` that describe them."""

    pixels: Tensor
    label: npt.NDArray[np.int64]
    group: npt.NDArray[np.str_]
    name: npt.NDArray[np.str_]
    vendor: npt.NDArray[np.str_]
    is_variant: npt.NDArray[np.bool_]
    held_out: npt.NDArray[np.bool_]


def is_held_out(group: str) -> bool:
    """Whether a group of drawings is on the held-out side: the first bytes of the SHA-256 of its name, as a fraction."""
    return int.from_bytes(hashlib.sha256(group.encode()).digest()[:8], "big") < HELD_OUT * 2**64


@functools.cache
def load_emoji() -> Emoji:
    """Decode the archive that ships with the package, once in a process."""
    with (
        resources.files("lightning_binding.data").joinpath("embedded/emoji.npz").open("rb") as file,
        np.load(file, allow_pickle=False) as stored,
    ):
        arrays = dict(stored)
    size, vendors = int(arrays["size"]), arrays["vendor_names"]
    sheets = []
    for number, vendor in enumerate(vendors):
        sheet = np.asarray(Image.open(io.BytesIO(arrays[f"atlas_{vendor}"].tobytes())).convert("RGBA"))
        rows, columns = sheet.shape[0] // size, sheet.shape[1] // size
        tiles = sheet.reshape(rows, size, columns, size, 4).transpose(0, 2, 4, 1, 3).reshape(-1, 4, size, size)
        sheets.append(tiles[: int((arrays["vendor"] == number).sum())])
    group_names = arrays["group_names"]
    held_out = np.array([is_held_out(str(name)) for name in group_names])
    return Emoji(
        torch.from_numpy(np.concatenate(sheets)),
        arrays["label"].astype(np.int64),
        group_names[arrays["group"]],
        arrays["name"],
        vendors[arrays["vendor"]],
        arrays["is_variant"],
        held_out[arrays["group"]],
    )


def premultiply(pixels: Tensor, size: int) -> Tensor:
    """Multiply colours by alpha and resize, so that the colours of transparent pixels do not bleed.

    Args:
        pixels: `(N, 4, H, W)` uint8, straight alpha.
        size: Of the result; a divisor of `H` averages boxes, any other size is antialiased bicubic.

    Returns:
        `(N, 4, size, size)` uint8, each colour at most alpha.
    """
    result = []
    for chunk in pixels.split(1024):
        alpha = chunk[:, 3:].float()
        image = torch.cat([chunk[:, :3].float() * alpha / 255, alpha], 1)
        height = image.shape[-1]
        if height != size and height % size == 0:
            image = avg_pool2d(image, height // size)
        elif height != size:
            image = interpolate(image, (size, size), mode="bicubic", antialias=True, align_corners=False)
        image = image.clamp(0, 255).round()
        result.append(torch.minimum(image, image[:, 3:]).to(torch.uint8))
    return torch.cat(result)


def composite(premultiplied: Tensor, background: Tensor) -> Tensor:
    """Lay images over plain colours: `c + round((255 - a) b / 255)` (Porter and Duff, 1984, "over").

    Args:
        premultiplied: `(N, 4, H, W)` uint8, each colour at most alpha.
        background: `(N, 3)` uint8.

    Returns:
        `(N, 3, H, W)` uint8 in [0, 255].
    """
    # A sum never passes 255, for colours are at most alpha; 255 is odd, so no quotient lies half-way.
    clear = premultiplied[:, 3:].bitwise_not().float()
    behind = (clear * (background.float() / 255)[:, :, None, None]).add_(0.5).to(torch.uint8)
    return behind.add_(premultiplied[:, :3])


class EmojiSet(ImageSet):
    """Emoji over plain colours, all in memory.

    Args:
        premultiplied: `(N, 4, H, W)` uint8.
        label: `(N,)` int64.
        seed: Of the colours and flips; None: one fixed colour for each image, and no flip.
        horizontal_flip: Mirror half of the images.
    """

    def __init__(self, premultiplied: Tensor, label: Tensor, seed: int | None, horizontal_flip: bool = False) -> None:
        self.premultiplied = premultiplied
        self.label = label
        self.seed = seed
        self.horizontal_flip = horizontal_flip

    def __len__(self) -> int:
        return len(self.label)

    def __getitems__(self, draws: Sequence[int | Draw]) -> ImageBatch:
        pairs = np.array([(draw, 0) if isinstance(draw, int) else draw for draw in draws], np.int64).reshape(-1, 2)
        index = pairs[:, 0]
        # Fixed colours do not follow the seed: a stored reference stays valid for every run.
        fixed = self.seed is None
        random = draw_bytes(0 if self.seed is None else self.seed, pairs[:, 1] * (not fixed), index)
        chosen = torch.from_numpy(index)
        image = composite(self.premultiplied[chosen], torch.from_numpy(random[:, :3].copy()))
        if self.horizontal_flip and not fixed:
            flipped = torch.from_numpy(random[:, 3] < 128)
            image = torch.where(flipped[:, None, None, None], image.flip(-1), image)
        return {"image": image, "label": self.label[chosen]}


class EmojiDataModule(BindingDataModule):
    """Twemoji and Noto emoji on random plain colours; the label is the emoji's category.

    They ship inside the package (see `embedded/ATTRIBUTION.md`): nothing is downloaded. A tenth of the emoji is held out
    for validation and test; genders, skin tones and both vendors' drawings of one emoji are on the same side.
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
            would be wrong when mirrored.

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
        if not vendors or not set(vendors) <= set(VENDORS):
            raise InputError(f"vendors is {vendors}; it must name some of {', '.join(VENDORS)}.")
        self.skin_tones = skin_tones
        self.vendors = vendors
        self.horizontal_flip = horizontal_flip
        self.class_names = list(CLASS_NAMES)
        self.num_classes = len(CLASS_NAMES)

    def train_set(self) -> EmojiSet:
        """The training emoji on random colours."""
        return EmojiSet(*self._select(False), seed=self.seed, horizontal_flip=self.horizontal_flip)

    def eval_set(self) -> EmojiSet:
        """The held-out emoji on fixed colours."""
        return EmojiSet(*self._select(True), seed=None)

    def reference_set(self) -> EmojiSet:
        """The training emoji on fixed colours."""
        return EmojiSet(*self._select(False), seed=None)

    @functools.lru_cache(maxsize=2)  # noqa: B019  (one or two data modules live as long as the process)
    def _select(self, held_out: bool) -> tuple[Tensor, Tensor]:
        """Images `(N, 4, H, W)`, multiplied by alpha, and labels `(N,)` of one side of the split."""
        emoji = load_emoji()
        chosen = (emoji.held_out == held_out) & np.isin(emoji.vendor, self.vendors)
        if not self.skin_tones:
            chosen &= ~emoji.is_variant
        pixels = emoji.pixels[torch.from_numpy(chosen)]
        return premultiply(pixels, self.image_size), torch.from_numpy(emoji.label[chosen])
