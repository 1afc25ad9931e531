"""Convolutions that pad by reflection, in whatever order the numbers lie in memory.

torch's own padding by reflection knows one order only, channels outermost, so that with channels innermost every
convolution rearranges its pictures twice; and it adds up its gradient number by number. Here both are a copy of the
picture and a few thin strips.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F


class Reflection(torch.autograd.Function):
    """`F.pad(x, sides, "reflect")`: the same numbers and gradient, with the order of x in memory."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, left: int, right: int, top: int, bottom: int) -> Tensor:
        """Pads pictures (B, C, H, W) by columns and rows, fewer than it has, to (B, C, top + H + bottom, …)."""
        ctx.sides = left, right, top, bottom
        height, width = x.shape[-2:]
        shape = (*x.shape[:2], top + height + bottom, left + width + right)
        out = torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=order(x))
        rows = out[:, :, top : top + height]
        rows[..., left : left + width] = x
        rows[..., :left] = x[..., 1 : left + 1].flip(-1)
        rows[..., left + width :] = x[..., width - 1 - right : width - 1].flip(-1)
        out[:, :, :top] = rows[:, :, 1 : top + 1].flip(-2)
        out[:, :, top + height :] = rows[:, :, height - 1 - bottom : height - 1].flip(-2)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """The gradient of x: what was reflected is added to where it came from."""
        left, right, top, bottom = ctx.sides
        height, width = grad.shape[-2] - top - bottom, grad.shape[-1] - left - right

        def fold(part: Tensor) -> Tensor:
            """Columns with their reflected rows added."""
            found = part[:, :, top : top + height].clone(memory_format=order(grad))
            found[:, :, 1 : top + 1] += part[:, :, :top].flip(-2)
            found[:, :, height - 1 - bottom : height - 1] += part[:, :, top + height :].flip(-2)
            return found

        found = fold(grad[..., left : left + width])
        found[..., 1 : left + 1] += fold(grad[..., :left]).flip(-1)
        found[..., width - 1 - right : width - 1] += fold(grad[..., left + width :]).flip(-1)
        return found, None, None, None, None


def order(x: Tensor) -> torch.memory_format:
    """The order in which the numbers of pictures (B, C, H, W) lie in memory."""
    innermost = x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()
    return torch.channels_last if innermost else torch.contiguous_format


class ReflectConv2d(nn.Conv2d):
    """A convolution with `padding_mode="reflect"`; the numbers are those of torch's."""

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        sides = self._reversed_padding_repeated_twice
        usual = input.device.type == "cpu" and order(input) is torch.contiguous_format  # what torch's own is good at
        if usual or torch.compiler.is_compiling() or max(sides) >= min(input.shape[-2:]):  # too small: torch's error
            plain: Tensor = super()._conv_forward(input, weight, bias)
            return plain
        padded: Tensor = Reflection.apply(input, *sides)  # type: ignore[no-untyped-call]
        return F.conv2d(padded, weight, bias, self.stride, 0, self.dilation, self.groups)


def pad_by_reflection(convolution: nn.Conv2d) -> None:
    """Makes a convolution pad by reflection, in place: its weights, their names and its hooks stay."""
    convolution.padding_mode = "reflect"
    if type(convolution) is nn.Conv2d:  # a subclass may have a pass of its own
        convolution.__class__ = ReflectConv2d
