"""The core of a RIN: what does not know whether it works on images, videos or anything else.

"Beyond tokenization, the model is domain-agnostic, as X is simply a set of vectors" (arXiv 2212.11972, section 3).
Outside of the core are the stem and the readout, whose shape is that of a patch, the positions of the interface, and
the class token. The core has the same names in every RIN, so that one trained on images goes on with video.
"""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from lightning_binding.errors import InputError
from lightning_binding.weights import raise_mismatch, read_weights, without_prefix

OUTSIDE = ("stem.", "readout.", "interface_position", "class_token.")
LEARNED_LATENTS = "latent_position"


def core(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights of the core, by name."""
    return {name: value for name, value in weights.items() if not name.startswith(OUTSIDE)}


@torch.no_grad()
def load_core(network: nn.Module, path: str | Path) -> None:
    """Loads the core of another RIN; everything else stays as it is.

    A class token takes the place of a learned latent, so with and without classes their numbers differ by one: the
    learned latents that both have are loaded.

    Args:
        network: A RIN.
        path: Checkpoint, or safetensors file, of a RIN whose latents and blocks have the same sizes.

    Raises:
        InputError: If the file is missing or damaged, or sizes differ.
    """
    wanted = core(network.state_dict())
    weights = core(without_prefix(read_weights(path), network.state_dict()))
    own, given = wanted.get(LEARNED_LATENTS), weights.get(LEARNED_LATENTS)
    if own is None or given is None or own.shape[1] != given.shape[1] or abs(len(own) - len(given)) > 1:
        sizes = [None if each is None else tuple(each.shape) for each in (given, own)]
        raise InputError(
            f"core_from: {path} has learned latents of shape {sizes[0]}, the network {sizes[1]}; expected the same "
            "number and width: give both networks the same latents and latent_dim."
        )
    weights[LEARNED_LATENTS] = torch.cat([given[: len(own)], own[len(given) :]])
    raise_mismatch(weights, wanted, path)
    network.load_state_dict(weights, strict=False)
