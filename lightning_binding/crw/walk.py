"""The contrastive random walk: nodes of a video, transitions between frames, walks there and back.

Jabri, Owens, Efros, *Space-Time Correspondence as a Contrastive Random Walk*, NeurIPS 2020 (arXiv 2006.14613). With
unit nodes q_t^i of frame t, a walker steps from i to j with probability (equation 1)

    A_t^{t+1}(i, j) = softmax_j(<q_t^i, q_{t+1}^j> / temperature)

and the loss asks that a palindrome t, ..., t + k, ..., t ends where it began (equations 3 and 4):

    loss_k = -log diag(A_t^{t+1} ... A_{t+k-1}^{t+k}  A_{t+k}^{t+k-1} ... A_{t+1}^t), its mean over nodes.
"""

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from lightning_binding.crw.products import palindromes, similarities
from lightning_binding.errors import InputError

EdgeDropout = Literal["independent", "official"]
Order = Literal["right", "left"]


class PalindromeLoss(NamedTuple):
    """What `palindrome_loss` returns.

    Attributes:
        loss: Mean over the cycles, ().
        cycle_losses: Loss of each cycle in nats, shortest first, (K,); ln N is chance.
        cycle_accuracies: Share of walkers whose likeliest end is their start, (K,), in [0, 1].
    """

    loss: Tensor
    cycle_losses: Tensor
    cycle_accuracies: Tensor


def palindrome_loss(
    nodes: Tensor,
    temperature: float,
    edge_dropout: float = 0.0,
    *,
    dropout_mode: EdgeDropout = "independent",
    two_frame_cycle: bool = False,
    order: Order = "right",
    returned: Tensor | None = None,
    target: Tensor | None = None,
    generator: torch.Generator | None = None,
) -> PalindromeLoss:
    """Cycle-consistency loss over all palindromes that start at the first frame.

    Computed in float32 at least, whatever autocast says: 1e-20 has no half-precision number. The walks are built by
    recursion (`crw.products`), and only the diagonal of the product of one there and one back is needed for the loss.

    Args:
        nodes: Unit vectors of T frames with N nodes each, (B, T, N, D).
        temperature: Divides the inner products; 0.05 in the released recipe.
        edge_dropout: Probability in [0, 1) with which an edge is left out (section 3.2).
        dropout_mode: `independent` masks for the way out and the way back, as in the paper; `official` drops an edge
            of the way out on the way back too, and further ones, as the released code does.
        two_frame_cycle: Also use the cycle over one step, which the released code leaves out.
        order: `right` multiplies transitions in the order of the walk; `left` is the order of the paper's algorithm 1,
            which is not that of a walk but produced the paper's numbers.
        returned: Nodes of the first frame seen a second time, (B, N, D), on which walks end; None ends them on
            `nodes[:, 0]`. Seen through another crop, they keep nodes that only know their place from finding home.
        target: For each starting node the one among `returned` that is its own, (B, N), or -1 where it was cropped
            away; None if they are in the same order.
        generator: Source of the dropout's random numbers.

    Raises:
        InputError: If the nodes have no four axes, there are too few frames, or an argument is out of range.
    """
    if nodes.ndim != 4:
        raise InputError(f"nodes have the shape {tuple(nodes.shape)}, expected (B, T, N, D).")
    shortest = 2 if two_frame_cycle else 3
    if nodes.shape[1] < shortest:
        hint = "" if two_frame_cycle else "; two_frame_cycle=True also walks over two"
        raise InputError(f"{nodes.shape[1]} frames are too few for a cycle: give {shortest} or more{hint}.")
    if target is not None and (returned is None or order == "left"):
        raise InputError("target names nodes of `returned`: give both, with order='right'.")
    if temperature <= 0 or not 0 <= edge_dropout < 1:
        raise InputError(f"temperature={temperature} must be positive, edge_dropout={edge_dropout} in [0, 1).")
    with torch.autocast(nodes.device.type, enabled=False):
        nodes = nodes if nodes.dtype == torch.float64 else nodes.float()
        out, back = _steps(nodes, temperature, edge_dropout, dropout_mode, returned, generator)
        return _cycles(out, back, target, shortest - 2, order)


def transitions(
    nodes: Tensor,
    temperature: float,
    edge_dropout: float = 0.0,
    *,
    dropout_mode: EdgeDropout = "independent",
    returned: Tensor | None = None,
    generator: torch.Generator | None = None,
) -> tuple[Tensor, Tensor]:
    """Transition matrices of every step forward in time and back, (B, T - 1, N, N) each; rows sum to one.

    A row that lost all its edges becomes uniform. Arguments as in `palindrome_loss`.
    """
    out, back = _steps(nodes, temperature, edge_dropout, dropout_mode, returned, generator)
    return out.transpose(0, 1), back.transpose(0, 1).mT


def _steps(
    nodes: Tensor,
    temperature: float,
    edge_dropout: float,
    dropout_mode: EdgeDropout,
    returned: Tensor | None,
    generator: torch.Generator | None,
) -> tuple[Tensor, Tensor]:
    """Transitions of every step forward, and those back with rows and columns exchanged, (T - 1, B, N, N) each.

    Exchanged, a step back is the same inner products, normalised along the other axis.
    """
    forward = backward = similarities(nodes, 1 / temperature)
    if returned is not None:
        home = returned.to(nodes.dtype) @ nodes[:, 1].mT / temperature
        backward = torch.cat([home[None], forward[1:]])
    if edge_dropout > 0:
        there, again = torch.rand((2, *forward.shape), device=nodes.device, generator=generator) < edge_dropout
        if dropout_mode == "official":
            again = again | there
        forward, backward = forward.masked_fill(there, -1e20), backward.masked_fill(again, -1e20)
    return forward.softmax(-1), backward.softmax(-2)


def entropy(transition: Tensor) -> Tensor:
    """Mean entropy of the rows of transition matrices (..., N, N), in nats between 0 and ln N."""
    surprise: Tensor = -torch.special.xlogy(transition, transition)
    return surprise.sum(-1).mean()


def _cycles(out: Tensor, back: Tensor, target: Tensor | None, first: int, order: Order) -> PalindromeLoss:
    """Losses of the palindromes over first + 1, ..., T - 1 steps each way; arguments as `_steps` returns them."""
    if order == "left":  # a left-multiplied chain is the transpose of the right-multiplied chain of transposes
        out, back = out.mT, back.mT
    home = torch.arange(out.shape[-1], device=out.device) if target is None else target.clamp(min=0)
    probability, ends = palindromes(out, back, first, None if target is None else home)
    right = ends.argmax(-1 if order == "right" else -2) == home
    if target is not None:
        probability, right = probability[:, target >= 0], right[:, target >= 0]
    losses = -torch.log(probability + 1e-20).flatten(1).mean(1)
    return PalindromeLoss(losses.mean(), losses.detach(), right.float().flatten(1).mean(1))
