"""The frames that labels are propagated from: the first and the last few, with their labels."""

from collections.abc import Sequence

from torch import Tensor

from lightning_binding.crw.windows import to_blocks


class Memory:
    """The first map of a video and its last few, which a new one replaces the oldest of.

    Attributes:
        first: Features of the first frame, (1, h, w, C).
        count: Number of the last maps that are held.

    Args:
        first: Unit features of the first frame, (h, w, C).
        labels: Its soft labels, (h, w, L).
        size: Number of the last maps to hold.
        copies: Of these, how many the first frame stands for in the beginning.
    """

    def __init__(self, first: Tensor, labels: Tensor, size: int, copies: int) -> None:
        self.first = first[None]
        self._blocks = to_blocks(self.first).repeat(1, 1, size, 1, 1)
        self._labels = labels.flatten(0, 1).repeat(size + 1, 1, 1)
        self.count = min(copies, size)
        self._size, self._oldest = size, self.count % size if size else 0

    def add(self, frame: Tensor, labels: Tensor) -> None:
        """Holds a frame (h, w, C) and its labels (h, w, L) in place of the oldest."""
        if self._size:
            self._blocks[:, :, self._oldest] = to_blocks(frame[None])[:, :, 0]
            self._labels[1 + self._oldest] = labels.flatten(0, 1)
            self._oldest = (self._oldest + 1) % self._size
            self.count = max(self.count, self._oldest or self._size)

    def renew(self, frames: Sequence[Tensor]) -> None:
        """Replaces features (h, w, C): of the first frame, then of the last ones, oldest first; labels stay."""
        self.first = frames[0][None]
        self._blocks[:] = to_blocks(self.first)
        for age, frame in enumerate(reversed(frames[1:]), 1):
            self._blocks[:, :, (self._oldest - age) % self._size] = to_blocks(frame[None])[:, :, 0]

    @property
    def blocks(self) -> Tensor:
        """The last maps, in no order, in blocks as `windowed_top_k` takes them, (w / BLOCK, h, count, BLOCK, C)."""
        return self._blocks[:, :, : self.count]

    @property
    def labels(self) -> Tensor:
        """Labels of all cells of the first frame, then of those of the last ones, ((1 + count) h w, L)."""
        return self._labels[: 1 + self.count].flatten(0, 1)
