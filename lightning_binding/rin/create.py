"""Denoisers by name, from timm's registry."""

from collections.abc import Mapping
from typing import Any

import timm
from torch import nn

from lightning_binding.errors import InputError
from lightning_binding.names import did_you_mean


def check_denoiser(network: nn.Module) -> None:
    """Raises an `InputError` if a network cannot say which pictures it is for, as other models of timm cannot."""
    missing = [name for name in ("image_size", "in_channels", "num_classes") if not hasattr(network, name)]
    if missing:
        raise InputError(
            f"network: a {type(network).__name__} is no denoiser, it has no {' and no '.join(missing)}; expected a RIN "
            "(`rin_cifar10`, …) or a network with its call and these attributes."
        )


def create_network(name: str, options: dict[str, Any]) -> nn.Module:
    """A network from timm's registry.

    Raises:
        InputError: If the name is unknown, or an option is not one of the preset's.
    """
    if not timm.is_model(name):
        raise InputError(f"unknown network {name!r}{did_you_mean(name, timm.list_models(['rin_*', 'dit_*']))}")
    try:
        network: nn.Module = timm.create_model(name, **options)
    except TypeError as error:
        known: Mapping[str, Any] = getattr(timm.model_entrypoint(name), "options", {})
        wrong = next((option for option in options if option not in known), None)
        if wrong is None or not known:
            raise
        raise InputError(f"network_options: {name} has no option {wrong!r}{did_you_mean(wrong, known)}") from error
    return network
