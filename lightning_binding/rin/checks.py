"""Clear sentences for sizes and inputs that do not fit a RIN."""

import inspect
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from lightning_binding.errors import InputError

if TYPE_CHECKING:
    from lightning_binding.rin.network import RIN


def require(condition: bool, message: str) -> None:
    """Raises an `InputError` with the message unless the condition holds."""
    if not condition:
        raise InputError(message)


def check_patch(image_size: int, patch_size: int) -> None:
    """A patch divides the image."""
    require(
        image_size > 0 and patch_size > 0 and image_size % patch_size == 0,
        f"patch_size={patch_size} does not divide image_size={image_size}: choose a patch_size that does.",
    )


def check_heads(option: str, heads: int, width_name: str, width: int) -> None:
    """Heads divide the width that they share."""
    require(
        heads > 0 and width % heads == 0,
        f"{option}={heads} does not divide {width_name}={width}: choose a number of heads that does.",
    )


def check_blocks(blocks: Sequence[int]) -> None:
    """There is a block, and none has fewer than no layers."""
    require(
        len(blocks) > 0 and min(blocks) >= 0,
        f"blocks={list(blocks)} must hold the number of self-attention layers, 0 or more, of one block at least.",
    )


def check_positive(**sizes: float) -> None:
    """Sizes of which there must be something."""
    for option, size in sizes.items():
        require(size > 0, f"{option}={size} must be positive.")


def check_rates(**rates: float) -> None:
    """Probabilities of dropping something leave something."""
    for option, rate in rates.items():
        require(0 <= rate < 1, f"{option}={rate} must be a probability in [0, 1).")


def check_options(preset: str, options: Mapping[str, Any], parameters: Mapping[str, inspect.Parameter]) -> None:
    """The options of a preset are of the types that the constructor declares.

    Args:
        preset: The preset's name, for the message.
        options: Constructor arguments; unknown ones are left to the constructor.
        parameters: The constructor's signature.
    """
    kinds = {int: "a whole number", float: "a number", bool: "true or false"}

    def fits(value: Any, kind: Any) -> bool:
        if kind not in kinds:  # the one sequence: the blocks
            return isinstance(value, list | tuple) and all(fits(item, int) for item in value)
        return isinstance(value, kind | int) and isinstance(value, bool) == (kind is bool)

    for name, value in options.items():
        if name in parameters:
            kind: Any = parameters[name].annotation
            expected = kinds.get(kind, "a list of whole numbers")
            require(fits(value, kind), f"{preset}: {name}={value!r} must be {expected}.")


def check_latents(latents: int, condition_tokens: int, latent_dim: int) -> None:
    """There are latents beside those of the condition, and the time token's sinusoids come in pairs."""
    require(
        latents > condition_tokens,
        f"latents={latents} leaves none to learn: {condition_tokens} of them hold the noise level and the class, "
        f"so latents must be at least {condition_tokens + 1}.",
    )
    require(latent_dim % 8 == 0, f"latent_dim={latent_dim} is not a multiple of 8, which the time token needs.")


def check_frames(frames: int, context_frames: int) -> None:
    """A clip has frames to predict."""
    require(
        frames > context_frames >= 0,
        f"context_frames={context_frames} of frames={frames} leaves nothing to predict: make it smaller.",
    )


def check_input(
    network: "RIN", x: Tensor, gamma: Tensor, label: Tensor | None, latents: Tensor | None, context: Tensor | None
) -> None:
    """The tensors given to a network have the shapes, and on a CPU the ranges, that it was built for.

    Ranges are looked at on the CPU alone: on a GPU that would make the host wait for the device at every step.
    """
    if torch.compiler.is_compiling():
        return
    size, channels = network.image_size, network.in_channels
    expected = (channels, size, size)
    video = network.frames > 1
    layout = f"(B, {network.frames - network.context_frames}, C, H, W)" if video else "(B, C, H, W)"
    require(
        x.ndim == (5 if video else 4)
        and tuple(x.shape[-3:]) == expected
        and (not video or x.shape[1] == network.frames - network.context_frames),
        f"x has shape {tuple(x.shape)}, but this network takes {layout} with (C, H, W) = {expected}: "
        "resize the data, or build the network with another image_size, in_channels or frames.",
    )
    batch = x.shape[0]
    require(tuple(gamma.shape) == (batch,), f"gamma has shape {tuple(gamma.shape)}, expected ({batch},).")
    if network.context_frames:
        clip = (batch, network.context_frames, *expected)
        given = None if context is None else tuple(context.shape)
        require(given == clip, f"context has shape {given}, expected {clip} (option context_frames).")
    else:
        require(context is None, "context was given to a network without context frames: set context_frames.")
    if latents is not None:
        shape = (batch, network.num_latents, network.latent_dim)
        require(
            tuple(latents.shape) == shape,
            f"latents have shape {tuple(latents.shape)}, expected {shape}: those of another network or batch?",
        )
    if label is not None:
        require(network.num_classes > 0, "label was given to an unconditional network: build it with num_classes.")
        require(tuple(label.shape) == (batch,), f"label has shape {tuple(label.shape)}, expected ({batch},).")
        check_labels(label, network.num_classes)
    if gamma.device.type == "cpu":
        require(
            bool(((gamma >= 0) & (gamma <= 1)).all()),
            f"gamma lies in [{gamma.min():.4g}, {gamma.max():.4g}], expected [0, 1] (the signal level, not the time).",
        )


def check_context(network: nn.Module, num: int, context: Tensor | None) -> None:
    """Clean frames uint8 (num, T_c, C, H, W) are given to a network that predicts from them, and to no other."""
    frames = getattr(network, "context_frames", 0)
    sizes: list[Any] = [network.in_channels, network.image_size, network.image_size]
    expected = (num, frames, *sizes)
    if not frames:
        require(context is None, "context was given to a network that predicts from none: leave it out.")
    elif context is None:
        raise InputError(
            f"the network predicts from {frames} clean frames: give context, uint8 {expected} "
            "(on the command line --context with a video)."
        )
    else:
        require(
            tuple(context.shape) == expected and context.dtype == torch.uint8,
            f"context is {context.dtype} of shape {tuple(context.shape)}, expected torch.uint8 of shape {expected}.",
        )


def check_labels(label: Tensor, num_classes: int) -> None:
    """Labels on the CPU lie in [-1, num_classes), -1 being the null label."""
    if label.device.type == "cpu" and label.numel():
        low, high = int(label.min()), int(label.max())
        require(
            low >= -1 and high < num_classes,
            f"labels lie in [{low}, {high}], but the network has {num_classes} classes (0 to {num_classes - 1}; "
            "-1 is the null label): set num_classes to the number of classes of the data.",
        )
