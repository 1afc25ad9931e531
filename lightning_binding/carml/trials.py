"""Rollouts of whole trials as a dataset: one rollout an epoch of Lightning, of exactly known length."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from lightning.pytorch import Trainer
from torch.utils.data import DataLoader, IterableDataset

from lightning_binding.carml.rollout import Rollout
from lightning_binding.errors import InputError


class Trials(IterableDataset[dict[str, Any]]):
    """Minibatches of whole trials: each pass collects a rollout, and goes through it several times.

    The length is exact. Without one, Lightning fetches a batch ahead: the next rollout would be collected before the
    last step of learning from this one.

    Args:
        collect: Collects a rollout, with what the loss needs.
        trials: Trials of a rollout.
        minibatches: Parts that a rollout is divided into, each of whole trials.
        passes: Times that each trial is learnt from.
        seed: Of the orders.

    Raises:
        InputError: If there are fewer trials than minibatches.
    """

    def __init__(self, collect: Callable[[], Rollout], trials: int, minibatches: int, passes: int, seed: int) -> None:
        if not 1 <= minibatches <= trials or passes < 1:
            raise InputError(
                f"a rollout of {trials} trials cannot be divided into {minibatches} minibatches, {passes} times: give "
                "more envs or steps, or fewer minibatches."
            )
        self.collect, self.trials, self.minibatches, self.passes = collect, trials, minibatches, passes
        self.generator = torch.Generator().manual_seed(seed)
        self._begun: dict[str, Any] | None = None  # a rollout that a checkpoint interrupted
        self._rollout: Rollout | None = None
        self._order = self.generator.get_state()

    def __len__(self) -> int:
        """Minibatches of a pass over a rollout, times the passes: those of an epoch."""
        return self.minibatches * self.passes

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Collects a rollout, and gives its minibatches."""
        begun, self._begun = self._begun, None
        if begun is None:
            self._rollout = self.collect()
            self._order = self.generator.get_state()
        else:
            self._rollout = Rollout.from_state(begun["rollout"])
            self._order = begun["order"]
            self.generator.set_state(self._order)
        skipped = 0 if begun is None else int(begun["seen"])
        for number in range(self.passes):
            order = torch.randperm(self._rollout.trials, generator=self.generator)
            for place, index in enumerate(order.tensor_split(self.minibatches)):
                if number * self.minibatches + place >= skipped:
                    yield self._rollout.batch(index)

    def state_dict(self, seen: int) -> dict[str, Any]:
        """What the next minibatches depend on: the rollout too, if it has been learnt from in part.

        Args:
            seen: Minibatches of the rollout that were learnt from.
        """
        if self._rollout is None or not 0 < seen < len(self):
            return {"generator": self.generator.get_state()}
        parts = {"minibatches": self.minibatches, "passes": self.passes}
        return {"rollout": self._rollout.state_dict(), "order": self._order, "seen": seen, **parts}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from a `state_dict`.

        Raises:
            InputError: If a rollout was learnt from in part, and is to be divided otherwise.
        """
        if "rollout" in state:
            for name in ("minibatches", "passes"):
                now, before = getattr(self, name), state.get(name)
                if before not in (None, now):
                    raise InputError(
                        f"{name} is {now}, and the checkpoint was written while a rollout was learnt from with {name} "
                        f"{before}: give {before}, or go on from a checkpoint between two rollouts."
                    )
            self._begun = state
        else:
            self.generator.set_state(state["generator"])


def as_is(batch: Any) -> Any:
    """The collate function: minibatches are made whole."""
    return batch


def trial_loader(trials: Trials) -> DataLoader[dict[str, Any]]:
    """The loader of a dataset of trials; a process of its own could not see the agent."""
    # Each pass draws a seed for workers: from a generator of its own, so that the run's is left alone.
    return DataLoader(trials, batch_size=None, num_workers=0, collate_fn=as_is, generator=torch.Generator())


def learnt_from(trainer: Trainer) -> int:
    """Minibatches of the current epoch that were learnt from; 0 between epochs."""
    batches = trainer.fit_loop.epoch_loop.batch_progress
    done: int = batches.current.processed  # type: ignore[attr-defined]  # declared as the parent of its class
    return 0 if batches.is_last_batch and done >= batches.current.ready else done
