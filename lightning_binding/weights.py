"""Reading weights: checkpoints and safetensors, with clear sentences when they do not fit."""

import pickle
import zipfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from lightning_binding.checkpoints import verify
from lightning_binding.errors import InputError
from lightning_binding.limits import check_stored


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Reads a Lightning checkpoint on the CPU, plain data only.

    Raises:
        InputError: If the file is missing, truncated, or holds more than plain data.
    """
    path = existing(path)
    verify(path)
    check_stored(path)
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises a different class for every kind of damage
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        if not _is_zip(path):
            reason = "it is not a whole file of torch"
        elif isinstance(error, pickle.UnpicklingError):  # torch's text advises to execute what the file holds
            reason = "it holds more than plain data"
        raise InputError(
            f"{path} cannot be read as a checkpoint ({reason}): is it damaged or still written?"
        ) from error
    if not isinstance(checkpoint, dict) or "state_dict" not in checkpoint:
        raise InputError(f"{path} is not a checkpoint of Lightning: it has no state_dict.")
    return checkpoint


NONFINITE = "nonfinite-"
"""How the name of a checkpoint begins that was saved at a loss which is no number."""


def newest_valid(files: Iterable[Path], tell: Callable[[str], None] = print) -> Path | None:
    """The newest checkpoint that is whole; each damaged one that is newer is told of.

    What stopped at a loss that is no number is not gone on with unasked, and left out.

    Args:
        files: Checkpoints.
        tell: Says a sentence.
    """
    kept = (file for file in files if not file.name.startswith(NONFINITE))
    for path in sorted(kept, key=lambda file: file.stat().st_mtime_ns, reverse=True):
        try:
            read_checkpoint(path)
        except InputError as error:
            tell(f"{error} The one before is used.")
        else:
            return path
    return None


def _is_zip(path: Path) -> bool:
    try:
        return zipfile.is_zipfile(path)
    except zipfile.BadZipFile:  # it is raised for some kinds of damage
        return False


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """Reads the weights of a safetensors file or of a checkpoint's state dict.

    Raises:
        InputError: If the file is missing or damaged.
    """
    path = existing(path)
    if path.suffix != ".safetensors":
        return dict(read_checkpoint(path)["state_dict"])
    try:
        return safetensors.torch.load_file(path)
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path} cannot be read as safetensors ({error}): is it damaged?") from error


def existing(path: str | Path) -> Path:
    """The path of a file that is there; raises `InputError` otherwise."""
    path = Path(path).expanduser()
    if not path.is_file():
        raise InputError(f"there is no file {path}; expected a checkpoint (.ckpt) or weights (.safetensors).")
    return path


OF_ANOTHER = "Are these the weights of another preset?"


def load_weights(network: nn.Module, path: str | Path, ask: str = OF_ANOTHER) -> None:
    """Loads weights into a network; a checkpoint's prefix (`network.`) is taken off where there is one.

    Args:
        network: The network.
        path: A checkpoint or safetensors file.
        ask: What is asked at the end of the message where they do not fit.

    Raises:
        InputError: If names or shapes are not those of the network, as with another preset's weights.
    """
    wanted = network.state_dict()
    weights = without_prefix(read_weights(path), wanted)
    raise_mismatch(weights, wanted, path, ask)
    network.load_state_dict(weights)


def without_prefix(weights: dict[str, Tensor], wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights under the names that a network knows: a checkpoint's prefix is taken off where that makes them known."""
    if not set(weights) & set(wanted):
        prefixes = {name.split(".", 1)[0] + "." for name in weights}
        weights = next(
            (
                {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}
                for prefix in sorted(prefixes)
                if any(name.removeprefix(prefix) in wanted for name in weights if name.startswith(prefix))
            ),
            weights,
        )
    return weights


def shape_difference(own: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> str | None:
    """The first of given weights whose shape is not that of one's own, as the part of a sentence; None if all fit."""
    here, there = ({name: tuple(value.shape) for name, value in each.items()} for each in (own, given))
    for name in {**here, **there}:
        if here.get(name) != there.get(name):
            return f"{name} is {there.get(name, 'missing')} there and {here.get(name, 'missing')} here"
    return None


def raise_mismatch(
    weights: Mapping[str, Tensor], wanted: Mapping[str, Tensor], path: str | Path, ask: str = OF_ANOTHER
) -> None:
    """Raises an `InputError` that names the first weights that do not fit, if any, and asks at its end."""
    missing, extra = sorted(set(wanted) - set(weights)), sorted(set(weights) - set(wanted))
    shapes = [name for name in wanted if name in weights and wanted[name].shape != weights[name].shape]
    if missing or extra or shapes:
        parts = [f"lacks {missing[0]} and {len(missing) - 1} more" if missing else ""]
        parts += [f"has {extra[0]} and {len(extra) - 1} more that the network lacks" if extra else ""]
        if shapes:
            given, expected = tuple(weights[shapes[0]].shape), tuple(wanted[shapes[0]].shape)
            parts += [f"has {shapes[0]} of shape {given}, the network {expected}"]
        raise InputError(f"{path} does not fit the network: it {'; it '.join(part for part in parts if part)}. {ask}")
