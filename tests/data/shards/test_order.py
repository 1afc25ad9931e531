"""The order of shards: each example once on any number of ranks, few chunks at a time, the same after a restart."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_binding import InputError
from lightning_binding.data.loader import TrainLoader, as_is
from lightning_binding.data.sampling import Draw
from lightning_binding.data.shards.order import ShardOrder
from lightning_binding.data.shards.sampler import ShardSampler

SIZES = [7, 3, 9, 1, 5, 8, 4, 6, 2, 10, 3, 5, 9, 8]
TOTAL = sum(SIZES)

sizes = st.lists(st.integers(1, 9), min_size=1, max_size=12).filter(lambda each: sum(each) >= 12)
worlds = st.sampled_from([1, 2, 3, 4])


def sampler(world: int, rank: int, of: list[int] = SIZES, seed: int = 3, **options: Any) -> ShardSampler:
    return ShardSampler(range(sum(of)), of, world, rank, seed, **options)  # type: ignore[arg-type]


def draws(world: int, epoch: int = 0, **options: Any) -> list[list[Draw]]:
    """Those of each rank."""
    found = []
    for rank in range(world):
        one = sampler(world, rank, **options)
        one.set_epoch(epoch)
        found.append(list(one))
        assert len(found[-1]) == len(one)
    return found


@given(sizes, worlds, st.none() | st.integers(1, 12), st.integers(1, 5), st.integers(0, 3), st.integers(0, 2**40))
def test_no_example_twice_and_hardly_one_left_out(
    of: list[int], world: int, streams: int | None, block: int, epoch: int, seed: int
) -> None:
    parts = draws(world, epoch, of=of, streams=streams, block=block, seed=seed)
    assert len({len(part) for part in parts}) == 1
    seen = [index for part in parts for index, _ in part]
    used = sum(of) // (streams or world) * (streams or world)
    assert len(seen) == len(set(seen)) == used // world * world
    assert set(seen) <= set(range(sum(of)))
    assert {number for part in parts for _, number in part} == {epoch}


@given(worlds, st.integers(0, 5))
def test_the_streams_alone_make_the_order(world: int, epoch: int) -> None:
    parts = draws(world, epoch, streams=12)
    dealt = [draw for turn in zip(*parts, strict=True) for draw in turn]
    assert dealt == draws(1, epoch, streams=12)[0][: len(dealt)]


def test_orders_differ_and_are_mixed() -> None:
    orders = {tuple(draws(1, epoch, seed=seed)[0]) for epoch in range(4) for seed in range(4)}
    assert len(orders) == 16
    of = [50] * 40
    places = np.zeros(2000)
    for epoch in range(40):
        places[[index for index, _ in draws(1, epoch, of=of)[0]]] += np.arange(2000) / 40
    # A mean of 40 uniform places has a deviation of 91; that of an order that stays would be 577.
    assert 80 < places.std() < 105
    inner = [index % 50 for index, _ in draws(1, of=of)[0]]
    assert abs(np.corrcoef(inner[:-1], inner[1:])[0, 1]) < 0.1


@given(worlds, st.integers(1, 3), st.integers(1, 3))
def test_a_rank_needs_few_chunks(world: int, block: int, more: int) -> None:
    """At each moment those of one block of each of its streams, and in the whole its share."""
    of = [6] * 60
    streams = world * more
    for part in draws(world, of=of, block=block, streams=streams):
        chunks = [index // 6 for index, _ in part]
        assert len(set(chunks)) <= 60 / world + more + 1
        last = {chunk: at for at, chunk in enumerate(chunks)}
        first = {chunk: at for at, chunk in reversed(list(enumerate(chunks)))}
        open_at = [sum(first[chunk] <= at <= last[chunk] for chunk in last) for at in range(len(chunks))]
        assert max(open_at) <= block * more


def test_what_comes_is_said_before_it_is_needed() -> None:
    said: list[list[int]] = []
    one = sampler(2, 1, ahead=lambda needed, past: said.append(needed), block=2)
    ends = np.cumsum(SIZES)
    for index, _ in one:
        assert int(np.searchsorted(ends, index, side="right")) in said[-1][:2]
    assert all(len(each) == 4 for each in said[:-2])
    for now, then in pairwise(said):
        assert now[2:] == then[:2]


@pytest.mark.parametrize("seen", [0, 30])
def test_what_is_needed_of_several_streams_and_what_is_past(seen: int) -> None:
    """Of each stream the block it is in, before the next of any, and those behind, but none from before a restart."""
    said: list[tuple[list[int], list[int]]] = []
    one = sampler(1, 0, ahead=lambda *both: said.append(both), block=1, streams=2, behind=2)
    order = ShardOrder(SIZES, 3, 0, 2, 1)
    blocks = [order.blocks(number) for number in range(2)]
    if seen:
        one.resume(0, seen)
    at: dict[int, int] = {}
    first: dict[int, int] = {}
    number = seen
    for _ in one:
        stream, place = number % 2, number // 2
        block = int(order.stream(stream)[1][place])
        if at.get(stream) != block:
            first.setdefault(stream, block)
            at[stream] = block
            needed, past = said[-1]
            now = [blocks[each][here][0] for each, here in at.items()]
            following = [blocks[each][here + 1][0] for each, here in at.items() if here + 1 < len(blocks[each])]
            assert needed == now + following
            behind = [(each, here - away) for away in (2, 1) for each, here in at.items()]
            assert past == [blocks[each][here][0] for each, here in behind if here >= first[each]]
        number += 1
    assert max(len(past) for _, past in said) == 4


@given(worlds, worlds, st.integers(0, 5), st.integers(0, 3))
def test_other_ranks_go_on_exactly(before: int, after: int, done: int, epoch: int) -> None:
    """Twelve examples a step: the state of some ranks, read by others, continues the very order."""

    def loader(world: int, rank: int) -> TrainLoader:
        data: Any = type("Echo", (), {"__len__": lambda _: TOTAL, "__getitems__": lambda _, draws: draws})()
        one = ShardSampler(data, SIZES, world, rank, 3, 2)
        return TrainLoader(data, 12 // world, sampler=one, drop_last=True, collate_fn=as_is)

    def steps(loaders: list[TrainLoader]) -> list[set[Draw]]:
        return [{draw for part in step for draw in part} for step in zip(*loaders, strict=True)]

    first = [loader(before, rank) for rank in range(before)]
    for each in first:
        each.sampler.set_epoch(epoch)  # type: ignore[attr-defined]
    whole = steps(first)
    seen = done * 12 // before
    state = {"epoch": epoch, "seen": seen, "ranks": before, "batch_size": 12 // before}
    state |= first[0].sampler.state()  # type: ignore[attr-defined]
    second = [loader(after, rank) for rank in range(after)]
    for each in second:
        each.load_state_dict(state)
    found = steps(second)
    if done:
        assert found == whole[done:][: len(found)]
        assert len(whole) - done - len(found) in (0, 1)  # the remainder differs with the ranks
    for each in second:
        each.sampler.set_epoch(epoch + 1)  # type: ignore[attr-defined]
        assert each.sampler.streams == after  # type: ignore[attr-defined]


@pytest.mark.parametrize("other", [{"block": 3}, {"seed": 4}, {"of": [*SIZES[1:], SIZES[0]]}])
def test_another_order_is_refused_in_the_middle_of_an_epoch(other: dict[str, Any]) -> None:
    state = sampler(1, 0, block=2).state()
    with pytest.raises(InputError, match=r"of other shards, or with another seed or reading\.block"):
        sampler(1, 0, **{"block": 2, **other}).resume(0, 5, state)
    sampler(1, 0, **{"block": 2, **other}).resume(1, 0, state)  # an epoch's end fits all
    sampler(1, 0, block=2).resume(0, 5, state)


def test_wrong_numbers() -> None:
    with pytest.raises(InputError, match="80 examples cannot be dealt to 81 ranks"):
        sampler(81, 0)
    with pytest.raises(InputError, match="block is 0"):
        sampler(1, 0, block=0)
    with pytest.raises(InputError, match="streams -1"):
        sampler(1, 0, streams=-1)
