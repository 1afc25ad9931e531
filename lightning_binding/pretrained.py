"""Models that ship with the package."""

from pathlib import Path

from lightning_binding.errors import InputError
from lightning_binding.export import load
from lightning_binding.module import BindingModule
from lightning_binding.names import did_you_mean


def shipped() -> dict[str, Path]:
    """Exported models inside the package, by name: each lies with its method, whose name its own begins with."""
    files = sorted(Path(__file__).parent.glob("*/weights/*.safetensors"))
    return {path.stem: path for path in files if path.stem.startswith(f"{path.parent.parent.name}_")}


def load_pretrained(name: str) -> BindingModule:
    """A trained module that ships with the package, on the CPU and in evaluation mode.

    Args:
        name: Such as `rin_emoji32`.

    Raises:
        InputError: If no model of this name ships.
    """
    if name not in shipped():
        raise InputError(f"no model {name!r} ships with the package{did_you_mean(name, shipped())}")
    return load(shipped()[name])
