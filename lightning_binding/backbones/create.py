"""Any model of timm's registry as a map of features at a chosen layer and stride."""

from collections.abc import Sequence
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Literal

import timm
import torch
from torch import Tensor, nn

from lightning_binding.backbones.reflection import pad_by_reflection
from lightning_binding.backbones.strides import reduce_stride
from lightning_binding.errors import InputError
from lightning_binding.names import did_you_mean
from lightning_binding.weights import existing

Padding = Literal["zeros", "reflect", "replicate", "circular"]
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Backbone(nn.Module):
    """A timm model that maps pictures (B, 3, H, W) to features (B, channels, H / stride, W / stride).

    What lies beyond the layer is cut off. Made by `create_backbone`.

    Attributes:
        channels: Channels of the features.
        stride: Pixels of one step in the features.
        layer: Name of the layer.
        layers: Names of all layers that can be asked for.
        mean: Channel means that the input is normalised with, of numbers in [0, 1].
        std: Channel deviations, likewise.

    Args:
        network: A timm model with `forward_intermediates`.
        index: Place of the layer in the model's `feature_info`.
        stride: Pixels of one step in the features.
        norm: Whether the model's last norm is applied to the features, where it has one.
        channels_last: Whether pictures are laid out with their channels innermost, and features come out so.
    """

    def __init__(self, network: Any, index: int, stride: int, norm: bool, channels_last: bool = True) -> None:
        super().__init__()
        info = list(network.feature_info)
        self.layers = [each["module"] for each in info]
        self.layer, self.channels, self.stride = info[index]["module"], int(info[index]["num_chs"]), stride
        configuration = network.pretrained_cfg
        self.mean = tuple(configuration.get("mean", IMAGENET_MEAN))
        self.std = tuple(configuration.get("std", IMAGENET_STD))
        self._index, self._norm, self._channels_last = index, norm, channels_last
        self.network = network

    @property
    def multiple(self) -> int:
        """What height and width of pictures must be a multiple of: transformers cannot cut a patch."""
        return self.stride if hasattr(self.network, "patch_embed") else 1

    def layer_index(self, layer: str | int) -> int:
        """The place of a layer, up to that of the features; raises an `InputError` if there is none."""
        return layer_index(type(self.network).__name__, self.layers[: self._index + 1], layer)

    def forward(self, images: Tensor, index: int | None = None) -> Tensor:
        """Features of pictures.

        Args:
            images: Normalised pictures (B, 3, H, W).
            index: Place of an earlier layer to take features from; None takes those of `layer`.

        Returns:
            (B, channels, H / stride, W / stride) at `layer`.
        """
        index = self._index if index is None else index
        if self._channels_last:  # the convolutions keep to it, whatever the layout of their weights
            images = images.contiguous(memory_format=torch.channels_last)
        features: Tensor = self.network.forward_intermediates(
            images, indices=[index], norm=self._norm, stop_early=True, intermediates_only=True
        )[0]
        return features


def create_backbone(
    name: str,
    *,
    layer: str | int | None = None,
    stride: int | None = None,
    pretrained: bool = False,
    weights: str | Path | None = None,
    padding: Padding | None = None,
    norm: bool = True,
    channels_last: bool = True,
    **options: Any,
) -> Backbone:
    """A timm model as a map of features.

    A smaller stride than the model's own is reached by removing the strides of its later convolutions, without
    dilation (as CRW's code does; timm's `output_stride` dilates). That needs a convolutional network; a vision
    transformer has the stride of its patches.

    Args:
        name: Model in timm's registry, as `resnet18`, `convnext_tiny`, `vit_small_patch8_224.dino`.
        layer: Layer whose output is taken: its name (`layer3`, `stages.2`, `blocks.11`) or its place among the layers
            (-1 is the last); None is the last.
        stride: Pixels of one step in the features; None is the model's own.
        pretrained: Download timm's weights.
        weights: File of weights in any form that timm reads for this model (its own, or those of the original code).
        padding: How convolutions pad, as torch's `padding_mode`: `reflect` in CRW; None leaves it.
        norm: Apply the model's last norm to the features, where it has one.
        channels_last: Lay pictures out with their channels innermost, which convolutions are faster with.
        **options: Further arguments of the model.

    Raises:
        InputError: If there is no such model, layer or weights, or the stride cannot be reached.
    """
    if not timm.is_model(name):
        known = timm.list_models(pretrained=True) + timm.list_models()
        raise InputError(f"timm has no model {name!r}{did_you_mean(name, known)}")
    network = _create(name, pretrained, weights, options)
    other = None if weights is None else _create(name, pretrained, weights, options)
    if not hasattr(network, "forward_intermediates"):
        raise InputError(f"timm's {name} has no forward_intermediates; choose a model that has.")
    index = layer_index(name, [each["module"] for each in network.feature_info], layer)
    for each in (network, other):
        if each is not None:
            each.prune_intermediate_layers([index], prune_norm=False, prune_head=True)
    if other is not None:
        _check_weights(name, str(weights), network, other)
    own = int(list(network.feature_info)[index]["reduction"])
    if stride is not None and stride < own:
        reduce_stride(
            network,
            stride,
            lambda images: network.forward_intermediates(
                images, indices=[index], stop_early=True, intermediates_only=True
            ),
        )
    if padding is not None:
        for module in network.modules():
            if isinstance(module, nn.Conv2d) and _pads(module):
                if padding == "reflect":
                    pad_by_reflection(module)
                else:
                    module.padding_mode = padding
    backbone = Backbone(network, index, stride or own, norm, channels_last)
    _check_stride(name, backbone, own)
    return backbone


def _create(name: str, pretrained: bool, weights: str | Path | None, options: dict[str, Any]) -> Any:
    features = getattr(timm.model_entrypoint(name), "features", None)
    if features is not None:  # a model that is no classifier says itself how it gives features
        return features(pretrained=pretrained, weights=weights, **options)
    if weights is not None:  # as if timm had downloaded the file, so that its conversions of other codes' names apply
        file = str(existing(weights))
        pretrained, options = True, {"pretrained_cfg_overlay": {"file": file, "hf_hub_id": None}, **options}
    try:
        try:  # vision transformers take pictures of any size then, and resample their positions
            return timm.create_model(name, pretrained=pretrained, num_classes=0, dynamic_img_size=True, **options)
        except TypeError:
            return timm.create_model(name, pretrained=pretrained, num_classes=0, **options)
    except OSError as error:  # so are those of the hub, of urllib and of requests
        if not pretrained or weights is not None:
            raise
        reason = str(error).splitlines()[0].rstrip(".")
        raise InputError(
            f"the weights of timm's {name} are not in the cache and cannot be downloaded ({reason}): without internet, "
            "give a file that has them, by --weights in propagate and by --model.weights in a recipe."
        ) from error
    except (RuntimeError, KeyError, UnpicklingError) as error:
        if weights is None:
            raise
        reason = str(error).splitlines()[0]
        raise InputError(f"{weights} does not hold weights of timm's {name} ({reason}).") from error


def layer_index(name: str, layers: Sequence[str], layer: str | int | None) -> int:
    """The place of a layer among those of a model; None is the last.

    Args:
        name: Of the model, for the message.
        layers: Names of its layers.
        layer: A name among them, or a place.

    Raises:
        InputError: If there is none.
    """
    if layer is None:
        return len(layers) - 1
    if isinstance(layer, str) and layer in layers:
        return layers.index(layer)
    if isinstance(layer, str) and layer.removeprefix("-").isdecimal():  # as the command line gives it
        layer = int(layer)
    if isinstance(layer, int) and -len(layers) <= layer < len(layers):
        return layer % len(layers)
    raise InputError(f"{name} has no layer {layer!r}; it has {', '.join(layers)}.")


def _pads(convolution: nn.Conv2d) -> bool:
    padding = convolution.padding
    return isinstance(padding, str) or any(padding)


def _check_weights(name: str, weights: str, network: nn.Module, other: nn.Module) -> None:
    """Raises an `InputError` if a part of the network is not in the file: timm leaves it random without a word.

    What two networks made from the file disagree on was drawn at random in both.
    """
    found = dict(other.named_parameters())
    for key, value in network.named_parameters():
        if not torch.equal(value, found[key]):
            raise InputError(f"{weights} does not hold weights of timm's {name}: it has none for {key}.")


@torch.no_grad()
def _check_stride(name: str, backbone: Backbone, own: int) -> None:
    """Raises an `InputError` if the features do not have the stride that they should."""
    size = 8 * max(own, backbone.stride)
    was_training = backbone.training
    height = backbone.eval()(torch.zeros(1, 3, size, size)).shape[2]
    backbone.train(was_training)
    if height * backbone.stride != size:
        raise InputError(
            f"{name} gives features of stride {size // height} at {backbone.layer}, not {backbone.stride}: choose "
            f"stride {size // height}, or a convolutional network, whose strides can be taken out."
        )
