"""Weights of the original TensorFlow code (google-research/pix2seq, `architectures/tape.py`) as ours.

Kernels there are (in, out), attention kernels (in, heads, head_dim) and (heads, head_dim, out), the stem's
(p, p, C, d) or (s, p, p, C, d); ours are (out, in) everywhere.
"""

import json
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from lightning_binding.errors import InputError
from lightning_binding.rin.layers import Attention, CrossUnit, FeedForward, SelfUnit

SIZES = {
    "latents",
    "latent_dim",
    "latent_mlp_ratio",
    "latent_heads",
    "interface_dim",
    "interface_mlp_ratio",
    "cross_heads",
    "image_size",
    "patch_size",
    "time_scale",
    "frames",
    "temporal_patch",
    "context_frames",
}


def options(config: Mapping[str, Any] | str) -> dict[str, Any]:
    """Constructor arguments of `RIN` from the original's sizes; raises `InputError` for an unknown one."""
    sizes = dict(json.loads(config) if isinstance(config, str) else config)
    blocks, classes = sizes.pop("blocks"), sizes.pop("classes", 0)
    unknown = sorted(set(sizes) - SIZES)
    if unknown:
        raise InputError(f"unknown sizes {unknown}; known are blocks, classes, {', '.join(sorted(SIZES))}.")
    layers = [int(k) for k in blocks.split(",")] if isinstance(blocks, str) else list(blocks)
    return {"blocks": layers, "num_classes": classes} | sizes


def convert(weights: Mapping[str, Any], network: nn.Module) -> dict[str, Tensor]:
    """The state dict of `network` from the original's variables.

    Args:
        weights: Arrays by variable name; a leading `weight/` is taken off.
        network: The `RIN` that the state dict is for.

    Raises:
        InputError: If a variable is missing or left over, or does not have the parameter's size.
    """
    arrays = {
        name.removeprefix("weight/").removesuffix(":0"): torch.as_tensor(array) for name, array in weights.items()
    }
    state: dict[str, Tensor] = {}
    shapes = {name: parameter.shape for name, parameter in network.named_parameters()}
    for ours, theirs in variable_names(network).items():
        if theirs not in arrays:
            raise InputError(f"the weights have no variable {theirs} (for {ours}); do they belong to this config?")
        array = arrays.pop(theirs)
        shape = shapes[ours]
        if array.numel() != shape.numel():
            raise InputError(f"variable {theirs} has shape {tuple(array.shape)}, expected {tuple(shape)} for {ours}.")
        if len(shape) == 2 and theirs.endswith("kernel"):
            array = array.reshape(shape[1], shape[0]).T
        state[ours] = array.reshape(shape).contiguous()
    if arrays:
        raise InputError(f"variables left over: {sorted(arrays)[:3]}…; do they belong to this config?")
    return state


def variable_names(network: nn.Module) -> dict[str, str]:
    """The original's variable name of each parameter of a `RIN`."""
    names = {
        "interface_position": "rin/tape_pos_emb/kernel/vis_pos_embedding",
        "latent_position": "rin/latent_pos_emb/kernel/vis_pos_embedding",
    }
    linear = {"weight": "kernel", "bias": "bias"}
    norm = {"weight": "gamma", "bias": "beta"}

    def add(ours: str, theirs: str, kind: dict[str, str]) -> None:
        names.update({f"{ours}.{key}": f"{theirs}/{value}" for key, value in kind.items()})

    add("stem", "rin/stem", linear)
    add("stem_norm", "rin/stem_ln", norm)
    add("time_token.expand", "rin/time_emb/dense0", linear)
    add("time_token.contract", "rin/time_emb/dense1", linear)
    add("previous_norm", "rin/latent_prev_ln", norm)
    add("readout_norm", "rin/output_ln", norm)
    add("readout", "rin/output_linear", linear)
    if getattr(network, "class_token", None) is not None:
        add("class_token", "rin/cond_proj", linear)

    for ours, module in network.named_modules():
        theirs = _unit_name(ours)
        if isinstance(module, FeedForward):
            mlp = "rin/latent_prev_proj" if ours == "previous" else f"{_unit_name(ours.rpartition('.')[0])}/mlp"
            add(f"{ours}.norm", f"{mlp}/ffn/ln", norm)
            add(f"{ours}.expand", f"{mlp}/ffn/dense1", linear)
            add(f"{ours}.contract", f"{mlp}/ffn/dense2", linear)
        elif isinstance(module, CrossUnit | SelfUnit):
            add(f"{ours}.norm", f"{theirs}/{_attention_name(ours)}/ln", norm)
        elif isinstance(module, Attention):
            mha = f"{_unit_name(ours.rpartition('.')[0])}/{_attention_name(ours)}"
            projections = {"query": "query", "key": "key", "value": "value", "out": "attention_output"}
            for projection, variable in projections.items():
                add(f"{ours}.{projection}", f"{mha}/{variable}", linear)
    return names


def _attention_name(ours: str) -> str:
    return "mha" if ".compute." in ours else "cross_mha"


def _unit_name(ours: str) -> str:
    """`blocks.1.read` is `rin/read_unit_1/…`; layers of a block's computation end in `_k`, except the first."""
    parts = ours.split(".")
    if len(parts) < 3 or parts[0] != "blocks":
        return ""
    if parts[2] == "compute":
        layer = int(parts[3]) if len(parts) > 3 else 0
        return f"rin/latent_processing_unit{parts[1]}/transformer_encoder{f'_{layer}' if layer else ''}"
    return f"rin/{parts[2]}_unit_{parts[1]}/transformer_decoder_layer"
