"""The objects of a video: their ids, the channel of labels that each has, and the frame in which it appears."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from lightning_binding.errors import InputError

VOID = 255  # of DAVIS: pixels that belong to nothing


class Objects:
    """Objects of the first frame, and those that appear later.

    Every object has a channel from the start; that of one that has not appeared is zero. When it appears, its pixels
    are its own, and all others keep the labels that were propagated to them. Frames before it know nothing of it: where
    they show what is now its own, they go on speaking for the background.

    Args:
        mask: Ids of the first frame, uint8 (H, W): 0 is background, 255 void, which is taken as background.
        later: Masks of later frames by their number. Objects with new ids are added; known ones are looked over.
        nearest: Give each cell to the object in its middle, else in shares, bilinearly as CRW's code does.
        align_corners: Of the bilinear resampling.

    Attributes:
        ids: Of the channels, background first, uint8 (L,).

    Raises:
        InputError: If a mask is not uint8 (H, W) of one size, or none holds an object.
    """

    def __init__(
        self,
        mask: Tensor,
        later: Mapping[int, Tensor] | None = None,
        nearest: bool = False,
        align_corners: bool = False,
    ) -> None:
        self.resampling: dict[str, Any] = {"mode": "nearest-exact"}
        if not nearest:
            self.resampling = {"mode": "bilinear", "align_corners": align_corners}
        self.first = _ids("the first mask", mask)
        self.appearing: dict[int, Tensor] = {}  # ids (H, W) of what appears in a frame, 0 elsewhere
        ids = {0} | _present(self.first)
        for time, other in sorted((later or {}).items()):
            name = f"the mask of frame {time}"
            if time < 1:
                raise InputError(f"{name}: later masks are those of frame 1, 2 and so on; frame 0 has the first mask.")
            found = _ids(name, other)
            if found.shape != self.first.shape:
                raise InputError(f"{name} has {_pixels(found)}, the first mask {_pixels(self.first)}.")
            new = _present(found) - ids
            if new:
                self.appearing[time] = torch.where(_member(found, new), found, 0)
                ids |= new
        if ids == {0}:
            where = "no mask holds an" if later else "the first mask holds no"
            raise InputError(f"{where} object: at least one pixel must have an id other than 0 and 255.")
        self.ids = torch.tensor(sorted(ids), dtype=torch.uint8)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the masks."""
        return self.first.shape[0], self.first.shape[1]

    def labels(self, height: int, width: int) -> Tensor:
        """Labels of the first frame at the resolution of the features, (height, width, L), each a share in [0, 1]."""
        return self._shares(self.first, height, width)

    def amend(self, time: int, labels: Tensor) -> Tensor:
        """Labels (h, w, L) of a frame with the objects that appear in it; see `propagate_frames`."""
        if time not in self.appearing:
            return labels
        shares = self._shares(self.appearing[time], *labels.shape[:2]).to(labels)
        rest = shares[..., :1].clone()  # what is left of each cell
        shares[..., 0] = 0
        return labels * rest + shares

    def present(self, time: int, labels: Tensor) -> Tensor:
        """Labels (h, w, L) of a frame, -1 in the channels of what appears in it: its pixels are known exactly."""
        if time not in self.appearing:
            return labels
        new = _member(self.ids, _present(self.appearing[time]) - {0})
        return labels.masked_fill(new.to(labels.device), -1)

    def mask(self, time: int, channels: Tensor) -> Tensor:
        """The ids of a frame, uint8 (H, W), from the channel that won in every pixel, (H, W)."""
        found = self.ids.to(channels.device)[channels]
        if time not in self.appearing:
            return found
        appearing = self.appearing[time].to(found.device)
        return torch.where(appearing > 0, appearing, found)

    def _shares(self, mask: Tensor, height: int, width: int) -> Tensor:
        """The share of every cell that each id has."""
        channels = (mask == self.ids.to(mask.device)[:, None, None]).float()
        small = F.interpolate(channels[None], (height, width), **self.resampling)
        return small[0].permute(1, 2, 0)


def _ids(name: str, mask: Tensor) -> Tensor:
    """A mask without void; raises an `InputError` if it is none."""
    if mask.ndim != 2 or mask.dtype != torch.uint8:
        hint = ": is it an indexed PNG that was read as colours? `masks.read_mask` gives ids" if mask.ndim == 3 else ""
        raise InputError(f"{name} is {mask.dtype} {tuple(mask.shape)}, expected uint8 ids (H, W){hint}.")
    return torch.where(mask == VOID, 0, mask)


def _present(mask: Tensor) -> set[int]:
    return set(torch.bincount(mask.flatten()).nonzero().flatten().tolist())


def _member(mask: Tensor, ids: set[int]) -> Tensor:
    return torch.isin(mask, torch.tensor(sorted(ids), dtype=mask.dtype, device=mask.device))


def _pixels(mask: Tensor) -> str:
    return f"{mask.shape[0]} x {mask.shape[1]} pixels"
