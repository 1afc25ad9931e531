"""A place in the data that some ranks wrote down, and others go on from."""

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_binding.data.loader import TrainLoader, as_is
from lightning_binding.data.sampling import TrainSampler
from lightning_binding.errors import InputError


class Numbers:
    """Its examples are their draws."""

    def __len__(self) -> int:
        return 61

    def __getitems__(self, draws: list[tuple[int, int]]) -> list[tuple[int, int]]:
        return draws


def loader(ranks: int, rank: int, batch_size: int) -> TrainLoader:
    data: Any = Numbers()
    sampler = TrainSampler(data, ranks, rank, seed=3)
    return TrainLoader(data, batch_size, sampler=sampler, drop_last=True, collate_fn=as_is)


def at(done: int) -> Any:
    """A trainer in its second epoch after `done` batches."""
    current = SimpleNamespace(processed=done, ready=done)
    batches = SimpleNamespace(current=current, is_last_batch=False)
    epochs = SimpleNamespace(current=SimpleNamespace(ready=2))
    return SimpleNamespace(
        fit_loop=SimpleNamespace(epoch_loop=SimpleNamespace(batch_progress=batches), epoch_progress=epochs)
    )


def steps(ranks: int, batch_size: int, state: dict[str, int] | None = None) -> list[set[tuple[int, int]]]:
    """The draws of each step, over all ranks, of the second epoch."""
    parts = []
    for rank in range(ranks):
        one = loader(ranks, rank, batch_size)
        one.sampler.set_epoch(1)  # type: ignore[attr-defined]
        if state is not None:
            one.load_state_dict(state)
        parts.append(list(one))
    return [{draw for part in step for draw in part} for step in zip(*parts, strict=True)]


@given(st.sampled_from([1, 2, 3, 4, 6]), st.sampled_from([1, 2, 3, 4, 6]), st.integers(0, 4))
def test_other_ranks_go_on_exactly(before: int, after: int, done: int) -> None:
    """Twelve examples a step, on any number of ranks: after a change, the steps are those of one process."""
    writer = loader(before, 0, 12 // before)
    writer.trainer = at(done)
    state = writer.state_dict()
    assert state == {"epoch": 1, "seen": done * 12 // before, "ranks": before, "batch_size": 12 // before, "seed": 3}
    whole = steps(1, 12)
    assert [len(step) for step in whole] == [12] * 5
    assert steps(after, 12 // after, state) == whole[done:]


def test_another_batch_is_refused() -> None:
    state = {"epoch": 1, "seen": 8, "ranks": 2, "batch_size": 4}
    with pytest.raises(InputError, match=r"batches of 4 on 2 ranks.*with 4 on 1.*stays 8"):
        loader(1, 0, 4).load_state_dict(state)
    loader(1, 0, 4).load_state_dict({**state, "seen": 0})  # an epoch's end fits all


def test_a_checkpoint_that_does_not_say() -> None:
    """Older checkpoints hold no ranks: they are taken for this run's."""
    one = loader(1, 0, 4)
    one.load_state_dict({"epoch": 1, "seen": 8})
    assert list(one) == list(loader_at(1, 4))[2:]


def loader_at(epoch: int, batch_size: int) -> TrainLoader:
    one = loader(1, 0, batch_size)
    one.sampler.set_epoch(epoch)  # type: ignore[attr-defined]
    return one
