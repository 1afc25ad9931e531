"""The products that a walk spends its time in, with their gradients written out.

They are what autograd would find. Here each gradient is computed into its place, and those that meet there are added
by the product itself, where autograd would give each memory of its own, add them up, and put the frames together.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def similarities(nodes: Tensor, scale: float) -> Tensor:
    """Inner products of the nodes of neighbouring frames, `scale` times q_t q_{t+1}^T.

    Args:
        nodes: Of T frames with N nodes each, (B, T, N, D).
        scale: What they are multiplied by.

    Returns:
        (T - 1, B, N, N).
    """
    found: Tensor = _Similarities.apply(nodes, scale)  # type: ignore[no-untyped-call]
    return found


def palindromes(out: Tensor, back: Tensor, first: int, home: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Products A_1 ⋯ A_k (B_1 ⋯ B_k)^T of matrices, k from first + 1 to S, and where on them a walk comes home.

    Args:
        out: Matrices A of the way out, (S, B, N, N).
        back: Matrices B of the way back, rows and columns exchanged, (S, B, N, N).
        first: Number of products that are left out.
        home: The column that is home to each row, (B, N); None is the diagonal.

    Returns:
        The elements of the products that are home, (S - first, B, N), and the products, (S - first, B, N, N), which
        have no gradient.
    """
    found: tuple[Tensor, Tensor] = _Palindromes.apply(out, back, first, home)  # type: ignore[no-untyped-call]
    return found


class _Similarities(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, nodes: Tensor, scale: float) -> Tensor:
        ctx.save_for_backward(nodes)
        ctx.scale = scale
        batch, frames, count, _ = nodes.shape
        scores = nodes.new_empty(frames - 1, batch, count, count)
        for time, score in enumerate(scores):
            torch.baddbmm(score, nodes[:, time], nodes[:, time + 1].mT, beta=0, alpha=scale, out=score)
        return scores

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (nodes,) = ctx.saved_tensors
        by_frame = nodes.new_empty(nodes.transpose(0, 1).shape)
        with torch.autocast(grad.device.type, enabled=False):
            for time, found in enumerate(by_frame):
                meets = 0  # the two products of a frame add up
                if time < len(grad):
                    torch.baddbmm(found, grad[time], nodes[:, time + 1], beta=0, alpha=ctx.scale, out=found)
                    meets = 1
                if time > 0:
                    back = grad[time - 1].mT
                    torch.baddbmm(found, back, nodes[:, time - 1], beta=meets, alpha=ctx.scale, out=found)
        return by_frame.transpose(0, 1), None


class _Palindromes(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, out: Tensor, back: Tensor, first: int, home: Tensor | None) -> tuple[Tensor, Tensor]:
        there, again = _walks(out), _walks(back)
        ends = there[first:] @ again[first:].mT
        index = None if home is None else home[:, :, None].expand_as(ends)
        found = ends.diagonal(dim1=-2, dim2=-1).clone() if index is None else ends.gather(-1, index)[..., 0]
        ctx.save_for_backward(out, back, there, again)
        ctx.index = index
        ctx.mark_non_differentiable(ends)
        return found, ends

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor, Tensor, None, None]:
        out, back, there, again = ctx.saved_tensors
        share, first = grad[..., None], len(out) - len(grad)
        ways_home = again[first:] if ctx.index is None else again[first:].gather(2, ctx.index)
        of_there, of_again = share * ways_home, share * there[first:]
        if ctx.index is not None:
            of_again = torch.zeros_like(of_again).scatter_add_(2, ctx.index, of_again)
        with torch.autocast(grad.device.type, enabled=False):
            return _step_gradients(out, there, of_there), _step_gradients(back, again, of_again), None, None


def _walks(steps: Tensor) -> Tensor:
    """Products A_1, A_1 A_2, …, A_1 ⋯ A_S of matrices (S, B, N, N)."""
    found = torch.empty_like(steps, memory_format=torch.contiguous_format)
    found[0] = steps[0]
    for last in range(1, len(steps)):
        torch.bmm(found[last - 1], steps[last], out=found[last])
    return found


def _step_gradients(steps: Tensor, found: Tensor, grad: Tensor) -> Tensor:
    """Gradients of the matrices from those of the last products, with which `grad` is overwritten."""
    by_step, first = torch.empty_like(found), len(steps) - len(grad)
    rest = grad[-1]  # of a walk, from what it and those that go on from it are used for
    for last in range(len(steps) - 1, 0, -1):
        torch.bmm(found[last - 1].mT, rest, out=by_step[last])
        if last > first:
            before = grad[last - 1 - first]
            rest = torch.baddbmm(before, rest, steps[last].mT, out=before)
        else:
            rest = rest @ steps[last].mT
    by_step[0] = rest
    return by_step
