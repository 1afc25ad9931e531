"""Work on threads: each item once, each thread alone with its operations, and what goes wrong is heard of."""

from collections.abc import Iterator

import pytest
import torch

from lightning_binding.crw.threads import each

CPU = torch.device("cpu")


@pytest.fixture(params=[1, 2, 3])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def test_every_item_is_done_once(threads: int) -> None:
    squares = torch.zeros(100)

    def square(index: int) -> None:
        squares[index] += torch.tensor(float(index)) ** 2

    each(square, range(100), CPU)
    assert torch.equal(squares, torch.arange(100.0) ** 2)


def test_operations_of_a_thread_are_not_shared_out_again(threads: int) -> None:
    seen = []
    each(lambda _: seen.append(torch.get_num_threads()), range(20), CPU)
    assert seen == [1] * 20
    assert torch.get_num_threads() == threads


def test_errors_are_raised_and_the_number_of_threads_comes_back(threads: int) -> None:
    def fail(index: int) -> None:
        if index == 3:
            raise ValueError("item 3")

    with pytest.raises(ValueError, match="item 3"):
        each(fail, range(8), CPU)
    assert torch.get_num_threads() == threads


def test_what_is_written_can_be_used_with_gradients(threads: int) -> None:
    found, weight = torch.zeros(4, 5), torch.ones(5, requires_grad=True)
    with torch.no_grad():
        each(lambda index: found[index].add_(weight * index), range(4), CPU)
    (found * weight).sum().backward()
    assert weight.grad is not None
    assert torch.equal(weight.grad, torch.full((5,), 6.0))


def test_it_works_in_inference_mode(threads: int) -> None:
    with torch.inference_mode():
        found = torch.zeros(4)
        each(lambda index: found[index : index + 1].add_(1), range(4), CPU)
    assert found.tolist() == [1.0] * 4
