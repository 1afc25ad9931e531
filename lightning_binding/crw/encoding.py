"""A video as feature maps, one after another: checked, resized, encoded, and never whole in memory."""

from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice
from typing import Protocol

import torch
from torch import Tensor

from lightning_binding.crw.settings import PropagationSettings
from lightning_binding.crw.sizes import frame_size, resize
from lightning_binding.errors import InputError

Encode = Callable[[Tensor], Tensor]  # uint8 frames (F, 3, H, W) to features (F, C, h, w)


def opened(video: Iterable[Tensor]) -> tuple[tuple[int, int], Iterator[Tensor]]:
    """The height and width of a video, and its frames, which are checked as they come.

    Args:
        video: Frames uint8 (3, H, W): a tensor (T, 3, H, W), a list, or a stream. No more than the first is read here.

    Raises:
        InputError: If there is no frame, or one is not uint8 (3, H, W) of the size of the first.
    """
    stream = iter(video)
    first = next(stream, None)
    if first is None:
        raise InputError("the video has no frame.")

    def checked() -> Iterator[Tensor]:
        for index, frame in enumerate(chain([first], stream)):
            if frame.ndim != 3 or frame.shape[0] != 3 or frame.dtype != torch.uint8:
                raise InputError(f"frame {index} is {frame.dtype} {tuple(frame.shape)}, expected uint8 (3, H, W).")
            if frame.shape != first.shape:
                raise InputError(
                    f"frame {index} has the shape {tuple(frame.shape)}, the first {tuple(first.shape)}: all frames of "
                    "a video must be of one size."
                )
            yield frame

    return (first.shape[-2], first.shape[-1]), checked()


@torch.no_grad()
def feature_maps(
    frames: Iterator[Tensor],
    size: tuple[int, int],
    encode: Encode,
    settings: PropagationSettings,
    multiple: int = 1,
    batch: int = 1,
) -> Iterator[Tensor]:
    """Feature maps (C, h, w) of frames.

    Args:
        frames: uint8 (3, H, W).
        size: Their height and width.
        encode: Maps uint8 frames (F, 3, h', w') to features (F, C, h, w).
        settings: With the size that frames are resized to.
        multiple: What the encoder needs height and width to be a multiple of.
        batch: Frames that are read ahead and encoded together, F at most.
    """
    if batch < 1:
        raise InputError(f"batch={batch} must be 1 or more.")
    target = frame_size(*size, settings, multiple)
    while chunk := list(islice(frames, batch)):
        yield from encode(resize(torch.stack(chunk), target, settings.frame_resampling))


class Watcher(Protocol):
    """What looks at the frames of a video as they pass, and may change the encoder meanwhile."""

    def watch(self, frames: Iterator[Tensor]) -> Iterator[Tensor]:
        """Passes frames uint8 (3, H, W) on."""

    def renew(self, times: list[int]) -> list[Tensor] | None:
        """The frames of these numbers if the encoder has changed since the last call, else None."""


class EncodedVideo:
    """The feature maps of a video, and those of its earlier frames again where the encoder changes.

    Args:
        video: Frames uint8 (3, H, W), of one size: a tensor (T, 3, H, W), a list, or a stream, of which none is kept.
        encode: Maps uint8 frames (F, 3, h', w') to features (F, C, h, w).
        settings: With the size that frames are resized to.
        multiple: What the encoder needs height and width to be a multiple of.
        batch: Frames that are read ahead and encoded together; 1 with a watcher.
        watcher: Sees every frame before it is encoded.

    Attributes:
        size: Height and width of the frames.
        encoded_size: Height and width that they are encoded at.

    Raises:
        InputError: If there is no frame, or one is not like the first.
    """

    def __init__(
        self,
        video: Iterable[Tensor],
        encode: Encode,
        settings: PropagationSettings,
        multiple: int = 1,
        batch: int = 1,
        watcher: Watcher | None = None,
    ) -> None:
        self.size, frames = opened(video)
        self.encoded_size = frame_size(*self.size, settings, multiple)
        self.encode, self.settings, self.multiple, self.watcher = encode, settings, multiple, watcher
        self._maps = self._encoded(frames if watcher is None else watcher.watch(frames), 1 if watcher else batch)

    def _encoded(self, frames: Iterator[Tensor], batch: int) -> Iterator[Tensor]:
        return feature_maps(frames, self.size, self.encode, self.settings, self.multiple, batch)

    def __iter__(self) -> Iterator[Tensor]:
        """Feature maps (C, h, w) of the frames that are left."""
        return self._maps

    def peek(self) -> Tensor:
        """The next feature map, which stays the next one."""
        first = next(self._maps)
        self._maps = chain([first], self._maps)
        return first

    def renew(self, times: list[int]) -> list[Tensor] | None:
        """Feature maps of earlier frames if the encoder has changed; see `propagate_frames`."""
        frames = None if self.watcher is None else self.watcher.renew(times)
        return None if frames is None else list(self._encoded(iter(frames), 1))
