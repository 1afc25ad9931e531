"""Products with gradients that are written out: those that autograd finds, in all their uses."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from lightning_binding.crw.products import palindromes, similarities
from lightning_binding.crw.walk import palindrome_loss


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).requires_grad_()


def gradients(outputs: Tensor, inputs: list[Tensor]) -> tuple[Tensor, ...]:
    """Of a weighted sum of the outputs."""
    weights = random(*outputs.shape, seed=9).detach()
    return torch.autograd.grad((outputs * weights).sum(), inputs)


def multiplied_out(out: Tensor, back: Tensor, first: int, home: Tensor) -> tuple[Tensor, Tensor]:
    """The same by autograd."""
    found, products = [], []
    for last in range(first, len(out)):
        there, again = out[0], back[0]
        for step in range(1, last + 1):
            there, again = there @ out[step], again @ back[step]
        products.append(there @ again.mT)
        found.append(products[-1].gather(2, home[:, :, None])[:, :, 0])
    return torch.stack(found), torch.stack(products)


@given(st.integers(1, 3), st.integers(2, 5), st.integers(1, 6), st.integers(1, 4))
@settings(max_examples=20, deadline=None)
def test_similarities_are_inner_products(batch: int, frames: int, count: int, dim: int) -> None:
    nodes = random(batch, frames, count, dim)
    expected = 3 * torch.einsum("btnd,btmd->tbnm", nodes[:, :-1], nodes[:, 1:])
    found = similarities(nodes, 3.0)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(gradients(found, [nodes]), gradients(expected, [nodes]), rtol=0, atol=1e-12)


@given(st.integers(1, 3), st.integers(1, 5), st.integers(1, 6), st.booleans(), st.data())
@settings(max_examples=30, deadline=None)
def test_palindromes_are_their_products(
    batch: int, steps: int, count: int, diagonal: bool, data: st.DataObject
) -> None:
    out, back = random(steps, batch, count, count), random(steps, batch, count, count, seed=1)
    first = data.draw(st.integers(0, steps - 1))
    home = torch.arange(count).expand(batch, -1)
    if not diagonal:  # several rows may have one home
        home = torch.randint(count, (batch, count), generator=torch.Generator().manual_seed(2))
    expected, products = multiplied_out(out, back, first, home)
    found, ends = palindromes(out, back, first, None if diagonal else home)
    assert not ends.requires_grad
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(ends, products, rtol=1e-12, atol=1e-12)
    both = [out, back]
    torch.testing.assert_close(gradients(found, both), gradients(expected, both), rtol=1e-12, atol=1e-12)


def test_any_order_in_memory() -> None:
    nodes = random(3, 2, 5, 4)
    turned = nodes.transpose(0, 1)  # (2, 3, 5, 4)
    found = similarities(turned, 1.0)
    torch.testing.assert_close(found, similarities(turned.contiguous(), 1.0))
    torch.testing.assert_close(
        gradients(found, [nodes]), gradients(similarities(turned.contiguous(), 1.0), [nodes]), rtol=0, atol=1e-12
    )
    out, back = random(2, 3, 4, 4), random(2, 3, 4, 4, seed=1)
    found, _ = palindromes(out.mT, back.mT, 0)
    again, _ = palindromes(out.mT.contiguous(), back.mT.contiguous(), 0)
    torch.testing.assert_close(gradients(found, [out, back]), gradients(again, [out, back]), rtol=0, atol=1e-12)


def test_gradients_are_those_of_finite_differences() -> None:
    home = torch.tensor([[1, 1, 0]])
    assert torch.autograd.gradcheck(lambda nodes: similarities(nodes, 2.0), random(1, 3, 3, 2))
    steps = random(3, 1, 3, 3), random(3, 1, 3, 3, seed=1)
    assert torch.autograd.gradcheck(lambda out, back: palindromes(out, back, 1, home)[0], steps)


def test_a_second_gradient_is_refused() -> None:
    nodes = random(1, 3, 3, 2)
    (grad,) = torch.autograd.grad(similarities(nodes, 1.0).square().sum(), nodes, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        grad.sum().backward()


def test_the_way_back_ignores_autocast() -> None:
    """Adaptation takes its steps within the precision of an evaluation."""
    nodes = torch.nn.functional.normalize(random(2, 4, 5, 8).detach().float(), dim=-1).requires_grad_()
    (plain,) = torch.autograd.grad(palindrome_loss(nodes, 0.1).loss, nodes)
    with torch.autocast("cpu", torch.bfloat16):
        (mixed,) = torch.autograd.grad(palindrome_loss(nodes, 0.1).loss, nodes)
    assert torch.equal(plain, mixed)
