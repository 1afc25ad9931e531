"""Exporting: the weights of a run as one safetensors file that says how it was made."""

import json
from pathlib import Path

from lightning.pytorch.utilities import rank_zero_info
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialize

from lightning_binding.errors import InputError
from lightning_binding.limits import parse_json
from lightning_binding.module import BindingModule
from lightning_binding.weights import existing, read_checkpoint


def export(ckpt_path: str, out: str | None = None, half: bool = False) -> Path:
    """Writes the network of a checkpoint as safetensors, which `timm.create_model(…, checkpoint_path=…)` loads.

    The averaged weights are written where the run had an `EMA` callback. The file also holds the module's
    hyper-parameters, so that `lightning-binding sample --ckpt_path` takes it too.

    Args:
        ckpt_path: Checkpoint of a run.
        out: File to write; beside the checkpoint, with the ending `.safetensors`, when not given.
        half: Store half precision (float16), which halves the file.

    Returns:
        The file that was written.

    Raises:
        InputError: If the checkpoint is missing or damaged.
    """
    averaged = "averaging_state" in read_checkpoint(ckpt_path)
    module = BindingModule.from_checkpoint(ckpt_path)
    path = Path(out) if out else Path(ckpt_path).with_suffix(".safetensors")
    save(module, path, half)
    kind = "averaged (EMA)" if averaged else "raw (the run had no EMA)"
    rank_zero_info(f"Wrote {path}, {path.stat().st_size / 2**20:.1f} MiB: the {kind} weights.")
    return path


def save(module: BindingModule, path: Path, half: bool = False) -> None:
    """Writes the weights of `module.trained()`, with the class and its hyper-parameters in the file's metadata."""
    weights = {
        name: (value.half() if half and value.is_floating_point() else value).contiguous()
        for name, value in module.trained().state_dict().items()
    }
    class_path = f"{type(module).__module__}.{type(module).__qualname__}"
    metadata = {"class_path": class_path, "hyper_parameters": json.dumps(dict(module.hparams))}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(serialize(weights, metadata))  # unlike `save_file`, with the permissions of any other file


def load(path: str | Path) -> BindingModule:
    """The module of a checkpoint or of an exported file, on the CPU and in evaluation mode.

    Args:
        path: A `.ckpt` of a run, or a `.safetensors` that `export` wrote.

    Raises:
        InputError: If the file is missing, damaged, or not exported by this package.
    """
    path = existing(path)
    if path.suffix != ".safetensors":
        return BindingModule.from_checkpoint(path)
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path} cannot be read as safetensors ({error}): is it damaged?") from error
    if not {"class_path", "hyper_parameters"} <= metadata.keys():
        raise InputError(f"{path} has weights, but not how they were made: give a file that `export` wrote.")
    arguments = parse_json(metadata["hyper_parameters"], f"the hyper_parameters of {path}")
    if not isinstance(arguments, dict):
        raise InputError(f"the hyper_parameters of {path} are no mapping: give a file that `export` wrote.")
    return BindingModule.from_description(metadata["class_path"], arguments, path)
