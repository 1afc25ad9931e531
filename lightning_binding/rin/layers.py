"""The parts of a RIN: attention, feed-forward, the read-compute-write block, and the embedding of the noise level.

Everything is pre-norm, as in the original code (google-research/pix2seq, `architectures/transformers.py`). Query, key,
value and output projections are separate parameters: LAMB's trust ratio is taken for each of them.
"""

import math
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

LAYER_NORM_EPS = 1e-6


def layer_norm(width: int) -> nn.LayerNorm:
    """A LayerNorm with the original's epsilon."""
    return nn.LayerNorm(width, eps=LAYER_NORM_EPS)


def glorot_(weight: Tensor, fan_in: int, fan_out: int) -> None:
    """Glorot-uniform initialisation in place, U(-a, a) with a = sqrt(6 / (fan_in + fan_out))."""
    limit = math.sqrt(6 / (fan_in + fan_out))
    nn.init.uniform_(weight, -limit, limit)


def one_hot(label: Tensor | None, gamma: Tensor, classes: int) -> Tensor:
    """Classes (B,) as (B, classes), of the type of gamma (B,); the null label, -1 or None, is all zeros."""
    if label is None:
        return gamma.new_zeros(len(gamma), classes)
    return (label[:, None] == torch.arange(classes, device=gamma.device)).to(gamma.dtype)


def in_autocast_type(x: Tensor) -> Tensor:
    """Tokens in the type that autocast is about to cast them to, so that several layers share one cast.

    As in autocast, float64 stays as it is.
    """
    device = x.device.type
    casts = torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)
    if not casts or x.dtype == torch.float64:
        return x
    return x.to(torch.get_autocast_dtype(device))


class Attention(nn.Module):
    """Multi-head attention of `query` tokens over `source` tokens, with biases everywhere.

    Args:
        query_dim: Width of the query tokens, which is the width of the output too.
        source_dim: Width of the tokens attended to.
        inner_dim: Width of queries, keys and values, all heads together.
        heads: Number of heads; divides `inner_dim`.
        dropout: Dropout probability on attention weights.
    """

    def __init__(self, query_dim: int, source_dim: int, inner_dim: int, heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.query = nn.Linear(query_dim, inner_dim)
        self.key = nn.Linear(source_dim, inner_dim)
        self.value = nn.Linear(source_dim, inner_dim)
        self.out = nn.Linear(inner_dim, query_dim)
        self.recorded: list[Tensor] | None = None  # filled while `record_attention` is active

    def reset_parameters(self) -> None:
        """Keras' fans for kernels of shape (in, heads, head_dim) and (heads, head_dim, out); zero biases."""
        head_dim = self.query.out_features // self.heads
        for projection in (self.query, self.key, self.value):
            glorot_(projection.weight, projection.in_features * self.heads, projection.in_features * head_dim)
        glorot_(self.out.weight, self.out.in_features, self.out.out_features * self.heads)
        for projection in (self.query, self.key, self.value, self.out):
            nn.init.zeros_(projection.bias)

    def forward(self, query: Tensor, source: Tensor) -> Tensor:
        """Attends.

        Args:
            query: Tokens of shape (B, n, query_dim).
            source: Tokens of shape (B, m, source_dim).

        Returns:
            Tensor of shape (B, n, query_dim).
        """
        same = source is query
        query = in_autocast_type(query)
        source = query if same else in_autocast_type(source)
        q, k, v = (
            rearrange(tokens, "b n (h k) -> b h n k", h=self.heads)
            for tokens in (self.query(query), self.key(source), self.value(source))
        )
        if self.recorded is not None:  # the fused kernel does not return its weights
            scores = (q.float() * q.shape[-1] ** -0.5) @ k.float().transpose(-2, -1)
            self.recorded.append(scores.softmax(dim=-1).detach())
        values = F.scaled_dot_product_attention(q, k, v, dropout_p=self.dropout if self.training else 0.0)
        out: Tensor = self.out(rearrange(values, "b h n k -> b n (h k)"))
        return out


class GELULinear(torch.autograd.Function):
    """Linear(GELU(h)) that keeps h alone for the backward pass and computes GELU(h) there again.

    The hidden units are the largest activations of a RIN; keeping them once in place of twice saves a quarter of the
    memory of a training step, for one more pass over them.
    """

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """Maps hidden (..., h) with weight (out, h) and bias (out,) to (..., out)."""
        ctx.save_for_backward(hidden, weight)
        return F.linear(F.gelu(hidden), weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Gradients of hidden, weight and bias."""
        hidden, weight = ctx.saved_tensors
        grad = grad.to(hidden.dtype)
        grad_hidden = torch.ops.aten.gelu_backward(grad @ weight.to(grad.dtype), hidden)
        rows = grad.flatten(0, -2)
        grad_weight = rows.T @ F.gelu(hidden).flatten(0, -2)
        return grad_hidden, grad_weight.to(weight.dtype), rows.sum(dim=0).to(weight.dtype)


class FeedForward(nn.Module):
    """LN, Linear, exact GELU, dropout, Linear; without the residual.

    Args:
        width: Width of the tokens.
        ratio: Hidden width over `width`.
        dropout: Dropout probability on the hidden units.
    """

    def __init__(self, width: int, ratio: float, dropout: float = 0.0) -> None:
        super().__init__()
        self.norm = layer_norm(width)
        self.expand = nn.Linear(width, int(width * ratio))
        self.dropout = nn.Dropout(dropout)
        self.contract = nn.Linear(int(width * ratio), width)

    def forward(self, x: Tensor) -> Tensor:
        """Maps tokens (B, n, width) to (B, n, width)."""
        hidden = self.expand(self.norm(x))
        if self.training and self.dropout.p == 0:
            recomputed: Tensor = GELULinear.apply(  # type: ignore[no-untyped-call]
                hidden, self.contract.weight, self.contract.bias
            )
            return recomputed
        out: Tensor = self.contract(self.dropout(F.gelu(hidden)))
        return out


class DropPath(nn.Module):
    """Drops the residual branch of an example with probability `rate` and rescales the others.

    Args:
        rate: Probability in [0, 1).
    """

    def __init__(self, rate: float = 0.0) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        """Maps (B, n, D) to (B, n, D)."""
        if self.rate == 0.0 or not self.training:
            return x
        keep = torch.rand(x.shape[0], 1, 1, device=x.device) >= self.rate
        return x * (keep.to(x.dtype) / (1 - self.rate))


class CrossUnit(nn.Module):
    """A read or a write: x + MHA(LN(x), source), then x + FFN(x). The source is not normalised.

    Args:
        width: Width of the tokens that are updated.
        source_dim: Width of the tokens attended to.
        heads: Heads; divides min(width, source_dim), the attention's inner width.
        ratio: Hidden ratio of the feed-forward; 0 leaves it out.
    """

    def __init__(self, width: int, source_dim: int, heads: int, ratio: float) -> None:
        super().__init__()
        self.norm = layer_norm(width)
        self.attention = Attention(width, source_dim, min(width, source_dim), heads)
        self.feed_forward = FeedForward(width, ratio) if ratio > 0 else None

    def forward(self, x: Tensor, source: Tensor) -> Tensor:
        """Updates x (B, n, width) from source (B, m, source_dim)."""
        x = x + self.attention(self.norm(x), source)
        return x if self.feed_forward is None else x + self.feed_forward(x)


class SelfUnit(nn.Module):
    """One layer of latent computation: x + MHA(LN(x), LN(x)), then x + FFN(x).

    Args:
        width: Width of the latents.
        heads: Heads; divides `width`.
        ratio: Hidden ratio of the feed-forward.
        dropout: Dropout on the hidden units of the feed-forward.
        drop_path: Probability of dropping each residual branch, for each example.
        attention_dropout: Dropout on attention weights.
    """

    def __init__(
        self, width: int, heads: int, ratio: float, dropout: float, drop_path: float, attention_dropout: float
    ) -> None:
        super().__init__()
        self.norm = layer_norm(width)
        self.attention = Attention(width, width, width, heads, attention_dropout)
        self.feed_forward = FeedForward(width, ratio, dropout)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """Maps latents (B, m, width) to (B, m, width)."""
        normed = self.norm(x)
        x = x + self.drop_path(self.attention(normed, normed))
        out: Tensor = x + self.drop_path(self.feed_forward(x))
        return out


class ScalarEmbedding(nn.Module):
    """The time token: W1 SiLU(W0 norm(PE(scale * gamma))).

    Args:
        width: Width of the token; a multiple of 8.
        scale: Factor on gamma before the sinusoids.
    """

    frequencies: Tensor

    def __init__(self, width: int, scale: float = 1000.0) -> None:
        super().__init__()
        self.scale, self.features = scale, width // 4
        index = torch.arange(0, self.features, 2, dtype=torch.float64)
        self.register_buffer("frequencies", (10_000 ** (-index / self.features)).float(), persistent=False)
        self.expand = nn.Linear(self.features, width)
        self.contract = nn.Linear(width, width)

    def positional(self, u: Tensor) -> Tensor:
        """PE(u) of shape (B, features): the sines of all frequencies, then the cosines; u of shape (B,)."""
        angles = u.float()[:, None] * self.frequencies
        return torch.cat([angles.sin(), angles.cos()], dim=-1)

    def forward(self, gamma: Tensor) -> Tensor:
        """Maps gamma (B,) in [0, 1] to tokens (B, width)."""
        code = self.positional(gamma * self.scale)
        code = code - code.mean(dim=-1, keepdim=True)
        code = code / code.square().mean(dim=-1, keepdim=True).sqrt()  # no epsilon, as in the original
        out: Tensor = self.contract(F.silu(self.expand(code)))
        return out
