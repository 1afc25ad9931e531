"""A bounded memory of trajectories in which each that was ever seen has the same chance to be."""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lightning_binding.errors import InputError


class Reservoir:
    """A uniform sample of all trajectories that were added (Vitter, 1985, algorithm R).

    What lies in it after any number of additions is each subset of its size with the same probability: the task
    scaffold is fitted to the whole history of the agent, not to its newest habits, at a bounded cost.

    Args:
        capacity: Most trajectories that are kept.
        memory: Bytes up to which trajectories are kept in memory; a larger reservoir lies in a file, and only what is
            read comes into memory.
        folder: Folder of that file; None is the system's for temporary files.
        seed: Of the choice of what is kept.

    Attributes:
        seen: Trajectories that were added so far.

    Raises:
        InputError: If the capacity is not positive.
    """

    def __init__(
        self, capacity: int = 2048, memory: int = 2**30, folder: str | Path | None = None, seed: int = 0
    ) -> None:
        if capacity < 1:
            raise InputError(f"capacity is {capacity}; a reservoir holds 1 trajectory or more.")
        self.capacity, self.memory, self.folder, self.seed = capacity, memory, folder, seed
        self.seen = 0
        self.generator = torch.Generator().manual_seed(seed)
        self._kept: Tensor | None = None
        self._file: tempfile._TemporaryFileWrapper[bytes] | None = None

    def __len__(self) -> int:
        return min(self.seen, self.capacity)

    @property
    def on_disk(self) -> bool:
        """Whether the trajectories lie in a file."""
        return self._file is not None

    @property
    def shape(self) -> tuple[int, ...] | None:
        """Of a trajectory, (T, ...); None before any was added."""
        return None if self._kept is None else tuple(self._kept.shape[1:])

    def add(self, trajectories: Tensor) -> None:
        """Adds trajectories (n, T, ...), of any type; all additions have the same shape but for n.

        Raises:
            InputError: If the shape is another one than before, or a value is not finite.
        """
        trajectories = trajectories.detach().cpu()
        if trajectories.is_floating_point() and not bool(trajectories.isfinite().all()):
            raise InputError("a trajectory holds an observation that is not finite, so it is no data for the scaffold.")
        if self._kept is None:
            self._kept = self._room(trajectories)
        if self._kept.shape[1:] != trajectories.shape[1:]:
            raise InputError(
                f"trajectories have the shape {tuple(trajectories.shape[1:])}, the reservoir holds "
                f"{tuple(self._kept.shape[1:])}: observations and the horizon must stay what they were."
            )
        number = torch.arange(self.seen, self.seen + len(trajectories))
        drawn = torch.rand(len(trajectories), generator=self.generator, dtype=torch.float64)
        place = torch.where(number < self.capacity, number, (drawn * (number + 1)).long())
        for index in torch.nonzero(place < self.capacity).flatten().tolist():  # in turn: later ones replace earlier
            self._kept[place[index]] = trajectories[index]
        self.seen += len(trajectories)

    def trajectories(self, count: int | None = None, generator: torch.Generator | None = None) -> Tensor:
        """Trajectories that are kept, (n, T, ...).

        Args:
            count: Draw at most so many, without replacement; None gives all.
            generator: Source of the draw, on the CPU; None is the reservoir's own.

        Raises:
            InputError: If nothing was added yet.
        """
        if self._kept is None or not len(self):
            raise InputError(
                "the reservoir is empty, so there is nothing to fit a scaffold to: let the agent act first, with two "
                "or more episodes in a trial, of which the first is not kept."
            )
        if count is None or count >= len(self):
            return self._kept[: len(self)].clone()
        return self._kept[torch.randperm(len(self), generator=generator or self.generator)[:count]]

    def state_dict(self) -> dict[str, Any]:
        """All of it, as plain data and tensors."""
        kept = None if self._kept is None else self._kept[: len(self)].clone()
        return {"seen": self.seen, "kept": kept, "generator": self.generator.get_state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes up a state; of one with more trajectories than the capacity, a uniform part is kept."""
        self.generator.set_state(state["generator"].cpu())
        self.seen, kept = int(state["seen"]), state["kept"]
        if kept is None:
            self._kept = None
            return
        if len(kept) > self.capacity:
            kept = kept[torch.randperm(len(kept), generator=self.generator)[: self.capacity]]
        elif len(kept) < len(self):  # the capacity has grown: what was dropped does not come back
            self.seen = len(kept)
        self._kept = self._room(kept)
        self._kept[: len(kept)] = kept.cpu()

    def when_resumed(self, option: str) -> str | None:
        """What becomes of an option that was another one when a state was made; see `BindingModule.when_resumed`."""
        return "is not used, as the random states of the checkpoint go on" if option == "seed" else None

    def _room(self, like: Tensor) -> Tensor:
        """Memory for `capacity` trajectories like these, in a file where it would be too much."""
        shape = (self.capacity, *like.shape[1:])
        size = like[:1].numel() * like.element_size() * self.capacity if len(like) else 0
        self._file = None
        if size <= self.memory:
            return torch.empty(shape, dtype=like.dtype)
        self._file = tempfile.NamedTemporaryFile(prefix="reservoir-", dir=self.folder)  # noqa: SIM115  (kept open)
        numbers = np.dtype(str(like.dtype).removeprefix("torch."))
        return torch.from_numpy(np.memmap(self._file.name, dtype=numbers, mode="w+", shape=shape))
