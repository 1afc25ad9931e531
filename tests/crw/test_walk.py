"""The walk: the original's outputs, closed forms, and a chain multiplied out step by step."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from lightning_binding.crw.walk import entropy, palindrome_loss, transitions
from lightning_binding.errors import InputError

FIXTURE = np.load(Path(__file__).parents[1] / "fixtures" / "crw.npz")


def random_nodes(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return F.normalize(torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype), dim=-1)


def orthonormal(frames: int, nodes: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.eye(nodes, dtype=dtype).expand(1, frames, nodes, nodes)


def multiplied_out(nodes: Tensor, temperature: float, order: str = "right", first: int = 1) -> Tensor:
    """Loss of each cycle by multiplying every chain from its beginning."""
    out, back = transitions(nodes, temperature)
    losses = []
    for last in range(first, nodes.shape[1] - 1):
        chain = [out[:, step] for step in range(last + 1)] + [back[:, step] for step in reversed(range(last + 1))]
        product = chain[0]
        for matrix in chain[1:]:
            product = product @ matrix if order == "right" else matrix @ product
        target = torch.arange(nodes.shape[2]).expand(nodes.shape[0], -1)
        losses.append(F.cross_entropy((product + 1e-20).log().flatten(0, 1), target.flatten()))
    return torch.stack(losses)


@pytest.mark.parametrize("temperature", ["0.05", "0.07"])
def test_the_original_code_is_reproduced(temperature: str) -> None:
    nodes = torch.tensor(FIXTURE["nodes"], requires_grad=True)
    found = palindrome_loss(nodes, float(temperature))
    found.loss.backward()
    np.testing.assert_allclose(found.cycle_losses.numpy(), FIXTURE[f"loss_per_cycle_tau{temperature}"], rtol=1e-12)
    np.testing.assert_allclose(found.loss.item(), FIXTURE[f"loss_tau{temperature}"], rtol=1e-12)
    assert nodes.grad is not None
    np.testing.assert_allclose(nodes.grad.numpy(), FIXTURE[f"grad_tau{temperature}"], rtol=0, atol=1e-12)


@given(st.integers(1, 3), st.integers(3, 6), st.integers(1, 9), st.sampled_from(["right", "left"]))
@settings(max_examples=25, deadline=None)
def test_recursion_equals_the_chain_multiplied_out(batch: int, frames: int, count: int, order: str) -> None:
    nodes = random_nodes(batch, frames, count, 6).requires_grad_()
    found = palindrome_loss(nodes, 0.1, order=order)  # type: ignore[arg-type]
    expected = multiplied_out(nodes, 0.1, order)
    torch.testing.assert_close(found.cycle_losses, expected.detach(), rtol=1e-10, atol=1e-12)
    (one,) = torch.autograd.grad(found.loss, nodes)
    (other,) = torch.autograd.grad(expected.mean(), nodes)
    torch.testing.assert_close(one, other, rtol=0, atol=1e-12)


def test_gradient_is_that_of_finite_differences() -> None:
    nodes = random_nodes(1, 3, 4, 5).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: palindrome_loss(x, 0.2).loss, nodes)


def test_rows_sum_to_one_with_and_without_dropout() -> None:
    for mode in ("independent", "official"):
        for matrix in transitions(random_nodes(2, 4, 49, 16), 0.07, 0.3, dropout_mode=mode):  # type: ignore[arg-type]
            torch.testing.assert_close(matrix.sum(-1), torch.ones(2, 3, 49, dtype=torch.float64))


def test_equal_features_are_chance() -> None:
    found = palindrome_loss(torch.ones(2, 4, 49, 1), 0.07)
    assert found.loss.item() == pytest.approx(math.log(49), abs=1e-6)  # 3.8918203
    assert found.cycle_accuracies.tolist() == pytest.approx([1 / 49] * 2)


@pytest.mark.parametrize(
    ("temperature", "loss"), [(0.05, 4.95e-7), (0.07, 1.49968e-4), (0.1, 1.088309e-2), (0.5, 3.887533)]
)
def test_orthonormal_features_have_a_closed_form(temperature: float, loss: float) -> None:
    # Every step is lam * identity + (1 - lam) * uniform; so are their products, with the product of the lams.
    count = 49
    lam = (math.exp(1 / temperature) - 1) / (math.exp(1 / temperature) + count - 1)
    expected = [-math.log(lam**steps + (1 - lam**steps) / count) for steps in (4, 6)]
    found = palindrome_loss(orthonormal(4, count), temperature)
    assert found.cycle_losses.tolist() == pytest.approx(expected, rel=1e-6)
    assert found.loss.item() == pytest.approx(loss, rel=1e-3)
    assert found.cycle_accuracies.tolist() == [1.0, 1.0]


@pytest.mark.parametrize(("temperature", "loss"), [(0.05, 8.43e-6), (0.07, 2.556e-3)])
def test_a_dense_map_of_orthonormal_features_has_it_too(temperature: float, loss: float) -> None:
    lam = (math.exp(1 / temperature) - 1) / (math.exp(1 / temperature) + 1023)
    found = palindrome_loss(orthonormal(3, 1024), temperature).cycle_losses  # of two steps there and two back
    assert found.tolist() == pytest.approx([-math.log(lam**4 + (1 - lam**4) / 1024)], rel=1e-6)
    assert found.item() == pytest.approx(loss, rel=1e-3)


def test_single_precision_loses_what_it_loses_in_the_original() -> None:
    """A perfect match costs 4.95e-7. In float32 the original computes 4.46e-7, as it normalises rows once more."""
    nodes = orthonormal(4, 49, torch.float32)
    assert multiplied_out(nodes, 0.05).mean().item() == pytest.approx(4.46e-7, abs=0.5e-9)
    step = 2**-24  # from 1 to the number before it; a walk there and back has four or six factors that near
    assert palindrome_loss(nodes, 0.05).loss.item() == pytest.approx(4.95e-7, abs=10 * step)


@pytest.mark.parametrize(("temperature", "expected", "spread"), [(0.05, 3.723, 0.014), (0.07, 3.858, 0.005)])
def test_random_features_lie_where_the_original_has_them(temperature: float, expected: float, spread: float) -> None:
    losses = [palindrome_loss(random_nodes(4, 4, 49, 128, seed=seed), temperature).loss for seed in range(20)]
    assert torch.stack(losses).mean().item() == pytest.approx(expected, abs=spread)


def test_renaming_the_nodes_of_a_frame_changes_nothing_when_the_product_is_a_walk() -> None:
    nodes = random_nodes(2, 4, 20, 8)
    renamed = nodes.clone()
    renamed[:, 2] = nodes[:, 2, torch.randperm(20, generator=torch.Generator().manual_seed(0))]
    walk = palindrome_loss(nodes, 0.1).loss - palindrome_loss(renamed, 0.1).loss
    left = palindrome_loss(nodes, 0.1, order="left").loss - palindrome_loss(renamed, 0.1, order="left").loss
    assert abs(walk.item()) < 1e-14
    assert abs(left.item()) > 1e-3


@pytest.mark.parametrize("order", ["right", "left"])
def test_planted_permutations_are_found(order: str) -> None:
    generator = torch.Generator().manual_seed(0)
    frames = [torch.eye(20, dtype=torch.float64)[torch.randperm(20, generator=generator)] for _ in range(4)]
    found = palindrome_loss(torch.stack(frames)[None], 0.05, order=order)  # type: ignore[arg-type]
    assert found.loss.item() == pytest.approx(1.96e-7, rel=0.01)


def zeros(matrix: Tensor) -> Tensor:
    return (matrix == 0).double()


def test_dropout_rates_are_those_of_the_two_codes() -> None:
    nodes, p = random_nodes(64, 3, 49, 64), 0.1
    generator = torch.Generator().manual_seed(0)
    out, back = transitions(nodes, 0.5, p, generator=generator)
    assert zeros(out).mean().item() == pytest.approx(p, abs=0.002)
    assert zeros(back).mean().item() == pytest.approx(p, abs=0.002)
    out, back = transitions(nodes, 0.5, p, dropout_mode="official", generator=generator)
    assert zeros(out).mean().item() == pytest.approx(p, abs=0.002)
    assert zeros(back).mean().item() == pytest.approx(1 - (1 - p) ** 2, abs=0.002)


@given(st.integers(0, 2**31), st.floats(0.01, 0.3))  # beyond, a row may lose all its edges
@settings(max_examples=20, deadline=None)
def test_in_the_official_mode_what_is_dropped_there_is_dropped_back(seed: int, p: float) -> None:
    nodes, generator = random_nodes(2, 4, 24, 16), torch.Generator().manual_seed(seed)
    out, back = transitions(nodes, 0.5, p, dropout_mode="official", generator=generator)
    assert (zeros(out) <= zeros(back).transpose(-1, -2)).all()
    assert zeros(out).sum() < zeros(back).sum()  # and more is
    out, back = transitions(nodes, 0.5, p, generator=generator)
    assert (zeros(out) > zeros(back).transpose(-1, -2)).any()


FLOORS = [(0.05, 1.93, 2.10), (0.1, 3.08, 3.25), (0.2, 4.34, 4.55), (0.3, 4.71, 4.94)]


@pytest.mark.parametrize(("p", "official", "independent"), FLOORS)
def test_dropout_keeps_even_a_perfect_matcher_from_zero(p: float, official: float, independent: float) -> None:
    nodes = orthonormal(4, 49).expand(4, -1, -1, -1)
    generator = torch.Generator().manual_seed(0)
    for mode, floor in (("official", official), ("independent", independent)):
        losses = [
            palindrome_loss(nodes, 0.05, p, dropout_mode=mode, generator=generator).loss  # type: ignore[arg-type]
            for _ in range(40)
        ]
        assert torch.stack(losses).mean().item() == pytest.approx(floor, abs=0.1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_row_without_edges_is_uniform_and_gives_no_nan(dtype: torch.dtype) -> None:
    nodes = random_nodes(8, 3, 2, 4, dtype=dtype).requires_grad_()
    generator = torch.Generator().manual_seed(0)
    out, _ = transitions(nodes, 0.05, 0.9, generator=generator)
    dropped = (out == 0.5).all(-1)
    assert dropped.any()
    loss = palindrome_loss(nodes, 0.05, 0.9, generator=generator).loss
    loss.backward()
    assert nodes.grad is not None
    assert loss.isfinite()
    assert nodes.grad.isfinite().all()


def test_half_precision_is_computed_in_single() -> None:
    nodes = random_nodes(2, 4, 9, 8, dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = palindrome_loss(nodes, 0.07)
    assert mixed.loss.dtype == torch.float32
    assert mixed.loss == palindrome_loss(nodes, 0.07).loss
    assert palindrome_loss(nodes.bfloat16(), 0.07).loss.dtype == torch.float32


def test_loss_of_a_batch_is_the_mean_over_its_clips() -> None:
    nodes = random_nodes(3, 5, 7, 4)
    alone = torch.stack([palindrome_loss(clip[None], 0.1).loss for clip in nodes])
    torch.testing.assert_close(palindrome_loss(nodes, 0.1).loss, alone.mean())


def test_two_frame_cycle_comes_first_when_asked_for() -> None:
    nodes = random_nodes(2, 4, 9, 8)
    short, usual = palindrome_loss(nodes, 0.1, two_frame_cycle=True), palindrome_loss(nodes, 0.1)
    torch.testing.assert_close(short.cycle_losses[1:], usual.cycle_losses)
    torch.testing.assert_close(short.cycle_losses, multiplied_out(nodes, 0.1, first=0))
    assert palindrome_loss(nodes[:, :2], 0.1, two_frame_cycle=True).loss.isfinite()


def test_entropy_is_that_of_its_definition() -> None:
    assert entropy(torch.full((3, 5, 5), 0.2)).item() == pytest.approx(math.log(5))
    assert entropy(torch.eye(5)).item() == 0.0


@pytest.mark.parametrize(
    ("nodes", "arguments", "message"),
    [
        (torch.ones(1, 2, 4, 3), {}, "2 frames are too few for a cycle: give 3 or more; two_frame_cycle=True"),
        (torch.ones(1, 1, 4, 3), {"two_frame_cycle": True}, "1 frames are too few for a cycle: give 2 or more"),
        (torch.ones(2, 4, 3), {}, r"expected \(B, T, N, D\)"),
        (torch.ones(1, 3, 4, 3), {"temperature": 0.0}, "temperature=0.0 must be positive"),
        (torch.ones(1, 3, 4, 3), {"edge_dropout": 1.0}, r"edge_dropout=1.0 in \[0, 1\)"),
    ],
)
def test_bad_input_is_explained(nodes: Tensor, arguments: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        palindrome_loss(nodes, **{"temperature": 0.1, **arguments})  # type: ignore[arg-type]
