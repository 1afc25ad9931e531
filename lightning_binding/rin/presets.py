"""Every published RIN, one row each, as entries of timm's registry.

`timm.create_model("rin_cifar10")` builds one; keyword arguments override a row. Columns are the constructor arguments
of `RIN`. How sure each row is stands in the method's README.
"""

import inspect
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import timm.models
from timm.models import register_model
from torch import nn

from lightning_binding.errors import InputError
from lightning_binding.rin.checks import check_options
from lightning_binding.rin.network import RIN

Denoiser = TypeVar("Denoiser", bound=nn.Module)


def row(
    image_size: int,
    patch_size: int,
    interface_dim: int,
    latents: int,
    latent_dim: int,
    blocks: list[int],
    heads: tuple[int, int],
    ratios: tuple[float, float],
    num_classes: int,
    **more: Any,
) -> dict[str, Any]:
    """A row of the table; `heads` and `ratios` are those of latents and interface."""
    return {
        "image_size": image_size,
        "patch_size": patch_size,
        "interface_dim": interface_dim,
        "latents": latents,
        "latent_dim": latent_dim,
        "blocks": blocks,
        "latent_heads": heads[0],
        "cross_heads": heads[1],
        "latent_mlp_ratio": ratios[0],
        "interface_mlp_ratio": ratios[1],
        "num_classes": num_classes,
        **more,
    }


def video(context_frames: int) -> dict[str, int]:
    """Clips of 16 frames in patches of two, of which the first frames are given."""
    return {"frames": 16, "temporal_patch": 2, "context_frames": context_frames}


PRESETS: dict[str, dict[str, Any]] = {
    # name: size, patch, d, m, D, blocks, (latent, cross) heads, (latent, interface) ratios, classes
    # Released configurations of the original code.
    "rin_cifar10": row(32, 2, 256, 128, 512, [2] * 3, (16, 8), (4, 2), 10, dropout=0.1, drop_path=0.1),
    "rin_imagenet64_released": row(64, 8, 512, 128, 768, [4] * 4, (16, 16), (4, 4), 1000),
    # The paper's main table (D = 1024), arXiv 2212.11972.
    "rin_imagenet64": row(64, 4, 256, 128, 1024, [4] * 4, (16, 16), (4, 4), 1000),
    "rin_imagenet128": row(128, 4, 512, 128, 1024, [4] * 6, (16, 16), (4, 4), 1000),
    "rin_imagenet256": row(256, 8, 512, 256, 1024, [4] * 6, (16, 16), (4, 4), 1000),
    # The noise-scheduling paper's family (D = 768), arXiv 2301.10972.
    "rin_64": row(64, 8, 512, 128, 768, [6] * 4, (16, 16), (4, 4), 1000),
    "rin_128": row(128, 8, 512, 128, 768, [6] * 4, (16, 16), (4, 4), 1000),
    "rin_256": row(256, 8, 512, 256, 768, [6] * 6, (16, 16), (4, 4), 1000),
    "rin_512": row(512, 8, 512, 256, 768, [6] * 6, (16, 16), (4, 4), 1000),
    "rin_768": row(768, 8, 512, 256, 768, [8] * 6, (16, 16), (4, 4), 1000),
    "rin_1024": row(1024, 8, 512, 256, 768, [8] * 6, (16, 16), (4, 4), 1000),
    # The paper's video model, 5 frames of Kinetics-600 to 11 more, and its sizes for BAIR, 1 to 15.
    "rin_kinetics600": row(64, 4, 512, 256, 1024, [4] * 6, (16, 16), (4, 4), 0, **video(5)),
    "rin_bair": row(64, 4, 512, 256, 1024, [4] * 6, (16, 16), (4, 4), 0, **video(1)),
    # Small ones, for CPUs: a test's, the quickstart's, and the recipe on emoji.
    "rin_tiny": row(8, 2, 16, 8, 32, [1, 1], (4, 2), (4, 2), 3),
    "rin_quickstart": row(32, 4, 128, 32, 128, [1] * 3, (4, 4), (4, 2), 9, sinusoidal_init=True),
    "rin_sprites": row(32, 4, 96, 48, 192, [1] * 4, (6, 4), (4, 1), 0, sinusoidal_init=True, **video(2)),
    "rin_emoji32": row(32, 4, 128, 32, 192, [1] * 4, (6, 4), (4, 2), 9, sinusoidal_init=True),
}

WEIGHTS = Path(__file__).parent / "weights"


def create(variant: str, pretrained: bool = False, **options: Any) -> RIN:
    """Builds a preset.

    Args:
        variant: Name of a row of `PRESETS`.
        pretrained: Load the weights that the package ships; only some presets have them.
        **options: Constructor arguments of `RIN` that override the row. What timm adds to every call
            (`pretrained_cfg`, `cache_dir`, …) is left out.

    Raises:
        InputError: If an option is of another type, or `pretrained` is asked of a preset without weights.
    """
    return build(RIN, PRESETS, variant, pretrained, options)


def build(
    kind: type[Denoiser], table: Mapping[str, dict[str, Any]], variant: str, pretrained: bool, options: dict[str, Any]
) -> Denoiser:
    """Builds a network from a row of a table of presets; see `create`.

    Args:
        kind: Class of the network.
        table: Constructor arguments of each preset.
        variant: Name of the row.
        pretrained: Load the weights that the package ships.
        options: Constructor arguments that override the row, and what timm adds.
    """
    timm_options = ("pretrained_cfg", "pretrained_cfg_overlay", "cache_dir")
    given = {key: value for key, value in options.items() if key not in timm_options}
    check_options(variant, given, inspect.signature(kind).parameters)
    network = kind(**table[variant] | given)
    if pretrained:
        path = WEIGHTS / f"{variant}.safetensors"
        if not path.exists():
            shipped = sorted(file.stem for file in WEIGHTS.glob("*.safetensors"))
            raise InputError(f"{variant} comes without weights (with weights: {shipped}); give checkpoint_path.")
        timm.models.load_checkpoint(network, str(path))
    return network


def register(kind: type[nn.Module], table: Mapping[str, dict[str, Any]], module: str) -> None:
    """Makes every row of a table of presets a model of timm's registry.

    Args:
        kind: Class of the networks; the attribute `options` of an entry holds its constructor's parameters.
        table: Constructor arguments of each preset.
        module: Name of the module that the presets are of, where timm looks for them.
    """
    for variant in table:

        def entry(pretrained: bool = False, *, _variant: str = variant, **options: Any) -> nn.Module:
            return build(kind, table, _variant, pretrained, options)

        entry.__name__, entry.__module__, entry.__doc__ = variant, module, f"The preset {variant}."
        entrypoint: Any = entry
        entrypoint.options = inspect.signature(kind).parameters
        register_model(entrypoint)
        setattr(sys.modules[module], variant, entrypoint)  # timm finds models as attributes of their module


register(RIN, PRESETS, __name__)
