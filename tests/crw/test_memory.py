"""The memory of a video: a queue of the last maps beside the first, in blocks that boxes take no copies of."""

from collections import deque

import pytest
import torch
from torch import Tensor

from lightning_binding.crw.memory import Memory
from lightning_binding.crw.windows import to_blocks


def maps(count: int) -> Tensor:
    return torch.randn(count, 5, 7, 3, generator=torch.Generator().manual_seed(0))


def labels(count: int) -> Tensor:
    return torch.rand(count, 5, 7, 2, generator=torch.Generator().manual_seed(1))


def from_blocks(blocks: Tensor) -> Tensor:
    """Undoes `to_blocks` for maps of 7 columns."""
    return blocks.permute(2, 1, 0, 3, 4).flatten(2, 3)[:, :, :7]


def test_blocks_hold_the_map() -> None:
    assert to_blocks(maps(3)).shape == (2, 5, 3, 4, 3)
    assert torch.equal(from_blocks(to_blocks(maps(3))), maps(3))
    assert (to_blocks(maps(3))[1, :, :, 3] == 0).all()


@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize("copies", [0, 1, 3])
def test_the_last_maps_are_held_with_their_labels(size: int, copies: int) -> None:
    frames, shares = maps(8), labels(8)
    memory = Memory(frames[0], shares[0], size, copies)
    queue = deque([0] * copies, maxlen=size)
    for time in range(1, 8):
        memory.add(frames[time], shares[time])
        queue.append(time)
        held = from_blocks(memory.blocks)
        indices = [next(index for index in range(8) if torch.equal(frames[index], each)) for each in held]
        assert sorted(indices) == sorted(queue)
        assert torch.equal(memory.labels, shares[[0, *indices]].flatten(0, 2))
    assert torch.equal(memory.first[0], frames[0])


@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize("copies", [0, 1, 3])
def test_renewed_features_are_those_that_were_held_from_the_start(size: int, copies: int) -> None:
    old, new, shares = maps(16)[:8], maps(16)[8:], labels(8)
    memory, expected = (Memory(frames[0], shares[0], size, copies) for frames in (old, new))
    for time in range(1, 8):
        memory.add(old[time], shares[time])
        expected.add(new[time], shares[time])
        memory.renew([new[0], *new[max(1, time + 1 - size) : time + 1]])
        assert torch.equal(memory.blocks, expected.blocks)
        assert torch.equal(memory.labels, expected.labels)
    assert torch.equal(memory.first[0], new[0])


def test_without_a_context_the_first_frame_is_all() -> None:
    memory = Memory(maps(1)[0], labels(1)[0], 0, 1)
    memory.add(maps(2)[1], labels(2)[1])
    assert memory.count == 0
    assert torch.equal(memory.labels, labels(1)[0].flatten(0, 1))


def test_a_box_of_a_full_memory_is_no_copy() -> None:
    memory = Memory(maps(1)[0], labels(1)[0], 4, 4)
    rows = memory.blocks[1, 2:4].flatten(0, 1)
    assert rows.data_ptr() == memory.blocks[1, 2].data_ptr()
