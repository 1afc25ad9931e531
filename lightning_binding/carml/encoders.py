"""Encoders of observations, described by plain arguments: layers on numbers, NatureCNN or any backbone on pictures."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.preprocessing import is_image_space
from stable_baselines3.common.torch_layers import NatureCNN as NatureNetwork
from torch import Tensor, nn

from lightning_binding.backbones.create import Backbone, create_backbone
from lightning_binding.errors import InputError


class Encoder(ABC):
    """Description of an encoder of one kind of observation."""

    @abstractmethod
    def build(self, space: spaces.Space[Any]) -> nn.Module:
        """A network from preprocessed observations (M, ...) of a space, in float, to features (M, features_dim).

        Pictures come as numbers in [0, 1], whole numbers of `Discrete` spaces as one-hot. The network has the size of
        its features as `features_dim`.

        Raises:
            InputError: If the space is not one that it encodes.
        """


class Layers(nn.Sequential):
    """Layers on flattened numbers.

    Args:
        size: Numbers of an observation.
        sizes: Outputs of each layer; without any the numbers are passed on.
    """

    def __init__(self, size: int, sizes: Sequence[int]) -> None:
        modules: list[nn.Module] = [nn.Flatten()]
        for outputs in sizes:
            modules += [nn.Linear(size, outputs), nn.Tanh()]
            nn.init.orthogonal_(modules[-2].weight, 2**0.5)  # type: ignore[arg-type]
            nn.init.zeros_(modules[-2].bias)  # type: ignore[arg-type]
            size = outputs
        super().__init__(*modules)
        self.features_dim = size


class MLP(Encoder):
    """Layers with tanh on the numbers of an observation.

    Args:
        sizes: Outputs of each layer; without any, the memory sees the observation as it is.
    """

    def __init__(self, sizes: Sequence[int] = ()) -> None:
        self.sizes = tuple(sizes)

    def build(self, space: spaces.Space[Any]) -> Layers:
        """The layers."""
        return Layers(flat_size(space), self.sizes)


class NatureCNN(Encoder):
    """The convolutional network of DQN (Mnih et al., 2015), from stable-baselines3; pictures have 36 pixels or more.

    Args:
        features: Size of the features.
    """

    def __init__(self, features: int = 256) -> None:
        self.features = features

    def build(self, space: spaces.Space[Any]) -> nn.Module:
        """The network; raises `InputError` without pictures."""
        network = NatureNetwork(pictures(space, type(self).__name__), self.features)
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # learns 1.2 times as fast on a CPU
        return network


class TimmEncoder(Encoder):
    """Any backbone of timm's registry on pictures, averaged over the picture; a frozen one is run once per picture.

    Args:
        backbone: Model in timm's registry, such as `resnet18`.
        layer: Layer whose output is taken, by name or place; None is the last.
        stride: Pixels of one step of its features; None is the model's own.
        pretrained: Download timm's weights.
        weights: File of weights of the backbone, such as what `lightning-binding export` wrote of a trained walk.
        frozen: Keep the backbone as it is.
        grid: The features are averaged over each cell of a grid of this side.
        options: Further arguments of the model.
    """

    def __init__(
        self,
        backbone: str = "resnet18",
        layer: str | int | None = None,
        stride: int | None = None,
        pretrained: bool = False,
        weights: str | Path | None = None,
        frozen: bool = True,
        grid: int = 1,
        options: dict[str, Any] | None = None,
    ) -> None:
        self.backbone, self.layer, self.stride = backbone, layer, stride
        self.pretrained, self.weights, self.frozen = pretrained, weights, frozen
        self.grid, self.options = grid, options

    def build(self, space: spaces.Space[Any]) -> BackboneFeatures:
        """The network; raises `InputError` without pictures of three channels."""
        channels = pictures(space, type(self).__name__).shape[0]
        if channels != 3:
            raise InputError(f"the pictures have {channels} channels; a backbone of timm's registry takes 3.")
        network = create_backbone(
            self.backbone,
            layer=self.layer,
            stride=self.stride,
            pretrained=self.pretrained,
            weights=self.weights,
            **self.options or {},
        )
        return BackboneFeatures(network, self.frozen, self.grid)


class BackboneFeatures(nn.Module):
    """Mean features of a backbone.

    Args:
        backbone: From normalised pictures to maps of features.
        frozen: Keep it in evaluation mode and without gradients.
        grid: Cells along each side that features are averaged in.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, backbone: Backbone, frozen: bool, grid: int) -> None:
        super().__init__()
        self.backbone, self.frozen = backbone.requires_grad_(not frozen), frozen
        self.pool = nn.AdaptiveAvgPool2d(grid)
        self.features_dim = backbone.channels * grid**2
        self.register_buffer("mean", torch.tensor(backbone.mean)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(backbone.std)[:, None, None], persistent=False)
        self.train(self.training)

    def train(self, mode: bool = True) -> BackboneFeatures:
        """A frozen backbone keeps its statistics."""
        super().train(mode)
        if self.frozen:
            self.backbone.eval()
        return self

    def forward(self, images: Tensor) -> Tensor:
        """Features (M, features_dim) of pictures (M, 3, H, W) in [0, 1]."""
        features: Tensor = self.pool(self.backbone((images - self.mean) / self.std)).flatten(1)
        return features


def default_encoder(space: spaces.Space[Any]) -> Encoder:
    """NatureCNN for pictures, the numbers themselves for anything else."""
    return NatureCNN() if is_image_space(space) else MLP()


def pictures(space: spaces.Space[Any], encoder: str) -> spaces.Box:
    """The space, if it is one of pictures.

    Raises:
        InputError: If it is not.
    """
    if not isinstance(space, spaces.Box) or not is_image_space(space) or len(space.shape) != 3:
        raise InputError(
            f"{encoder} takes pictures (C, H, W) of uint8, and the observations are {space}: choose a world with "
            "pictures (`pictures: true`, where it has the option), or the encoder MLP."
        )
    return space


def flat_size(space: spaces.Space[Any]) -> int:
    """Numbers of an observation, one-hot for choices."""
    if isinstance(space, spaces.Discrete):
        return int(space.n)
    if isinstance(space, spaces.MultiDiscrete):
        return int(np.sum(space.nvec))
    return int(np.prod(space.shape or (1,)))
