"""Checkpoints of the original code (ajabri/videowalk, such as its `pretrained.pth`) as ours.

There, torchvision's ResNet lies under `encoder.model.`, the head is `selfsim_fc.`, and in older checkpoints a padded
convolution stands behind a module that pads (`conv1.1.weight` for `conv1.weight`).
"""

import re
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lightning_binding.errors import InputError
from lightning_binding.limits import check_stored
from lightning_binding.names import did_you_mean
from lightning_binding.weights import existing

# Arguments of `ContrastiveRandomWalk` that make the network of the released checkpoint. It was trained with the
# statistics of CIFAR, and is used with those of ImageNet.
ARGUMENTS: dict[str, Any] = {
    "backbone": "resnet18",
    "layer": "layer4",
    "eval_layer": "layer3",
    "stride": 8,
    "padding": "reflect",
    "mean": (0.4914, 0.4822, 0.4465),
    "std": (0.2023, 0.1994, 0.2010),
    "eval_mean": (0.485, 0.456, 0.406),
    "eval_std": (0.229, 0.224, 0.225),
}
ENCODER = re.compile(r"^(encoder\.)?(module\.)?(model\.)?(?=conv1|bn1|layer\d|fc)")
PADDED = re.compile(r"(conv\d)\.1\.weight$")
UNUSED = ("selfsim_head.", "backbone.network.fc.")


def load_official(module: nn.Module, path: str | Path) -> None:
    """Loads a checkpoint of the original code into a `ContrastiveRandomWalk`.

    Args:
        module: With a torchvision-like ResNet as `backbone.network`, and a `head`; see `ARGUMENTS`.
        path: The checkpoint.

    Raises:
        InputError: If the file is missing or damaged, or does not fit the module.
    """
    wanted = {name: value for name, value in module.state_dict().items() if name.startswith(("backbone.", "head."))}
    module.load_state_dict(official_state_dict(read_official(path), wanted, path), strict=False)


def read_official(path: str | Path) -> dict[str, Tensor]:
    """The weights in a checkpoint of the original code, which also holds its arguments and its optimizer.

    Raises:
        InputError: If the file is missing or damaged, or holds more than plain data.
    """
    path = existing(path)
    check_stored(path)
    try:
        with torch.serialization.safe_globals([Namespace]):
            found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises a different class for every kind of damage
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{path} cannot be read as a checkpoint of the original code ({reason}).") from error
    if isinstance(found, dict):
        found = found.get("model", found.get("state_dict", found))
    if not isinstance(found, dict) or not all(isinstance(value, Tensor) for value in found.values()):
        raise InputError(f"{path} is not a checkpoint of the original code: it has no weights under `model`.")
    return dict(found)


def official_state_dict(
    state: Mapping[str, Tensor], wanted: Mapping[str, Tensor], path: str | Path = "the checkpoint"
) -> dict[str, Tensor]:
    """The state dict of a `ContrastiveRandomWalk` from that of the original code.

    Args:
        state: Weights by the names of the original code, in either spelling.
        wanted: Weights by our names, `backbone.network.*` and `head.*`. What is absent here, a head or the layers
            beyond that of the features, is left out.
        path: For messages.

    Raises:
        InputError: If weights are missing or unknown, or have another shape.
    """
    found = {renamed(name): value for name, value in state.items()}
    found = {name: value for name, value in found.items() if not name.startswith(UNUSED) and _has_part(name, wanted)}
    missing, extra = [name for name in wanted if name not in found], [name for name in found if name not in wanted]
    if missing:
        nearest = did_you_mean(missing[0], extra or state) if state else "."
        raise InputError(f"{path} does not fit the network: it lacks {missing[0]} and {len(missing) - 1} more{nearest}")
    if extra:
        nearest = did_you_mean(extra[0], wanted)
        raise InputError(f"{path} does not fit the network: it has {extra[0]}, which the network lacks{nearest}")
    for name, value in wanted.items():
        if found[name].shape != value.shape:
            given, expected = tuple(found[name].shape), tuple(value.shape)
            raise InputError(f"{path} does not fit the network: {name} has the shape {given}, expected {expected}.")
    return found


def renamed(name: str) -> str:
    """Our name of a weight of the original code; any other name stays as it is."""
    while name.startswith("module."):  # DataParallel
        name = name.removeprefix("module.")
    if name.startswith("selfsim_fc."):
        return "head." + name.removeprefix("selfsim_fc.")
    if ENCODER.match(name):
        return "backbone.network." + PADDED.sub(r"\1.weight", ENCODER.sub("", name))
    return name


def _has_part(name: str, wanted: Mapping[str, Tensor]) -> bool:
    """Whether the network has the layer, or the head, that a weight is of."""
    layer = re.match(r"(head|backbone\.network\.layer\d)\.", name)
    return layer is None or any(other.startswith(layer[0]) for other in wanted)
