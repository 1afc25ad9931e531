"""Finer features from a convolutional network: its later strides are taken out, without dilation."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

STRIDED = (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d)


@torch.no_grad()
def reduce_stride(network: nn.Module, stride: int, forward: Callable[[Tensor], Any]) -> None:
    """Sets every stride to one that begins at or beyond a reduction of the picture, in place.

    A convolution keeps its kernel and so its weights; a pooling layer becomes the identity.

    Args:
        network: The network.
        stride: Reduction that the features should have.
        forward: Runs the network up to the features, on pictures (1, 3, size, size).
    """
    size = 32 * stride
    late: list[nn.Module] = []

    def watch(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        step = module.stride
        strided = max(step) > 1 if isinstance(step, tuple) else int(step) > 1  # type: ignore[arg-type]
        if strided and inputs[0].ndim == 4 and size // inputs[0].shape[-1] >= stride:
            late.append(module)

    hooks = [module.register_forward_pre_hook(watch) for module in network.modules() if isinstance(module, STRIDED)]
    was_training = network.training
    network.eval()
    try:
        forward(torch.zeros(1, 3, size, size))
    finally:
        network.train(was_training)
        for hook in hooks:
            hook.remove()
    for module in late:
        _unstride(module)


def _unstride(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d):
        module.stride = (1, 1)
        if any(side % 2 == 0 for side in module.kernel_size):  # one pixel more on one side keeps the size
            module.padding = "same"
            module._reversed_padding_repeated_twice = [
                part for side in reversed(module.kernel_size) for part in ((side - 1) // 2, side // 2)
            ]
    else:
        module.stride, module.kernel_size, module.padding = 1, 1, 0  # type: ignore[assignment]
