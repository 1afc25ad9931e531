"""Models that ship with the package."""

from pathlib import Path

from lightning_binding.errors import InputError
from lightning_binding.export import load
from lightning_binding.module import BindingModule
from lightning_binding.names import did_you_mean


def shipped() -> dict[str, Path]:
    """Exported models inside the package, by name."""
    return {path.stem: path for path in sorted(Path(__file__).parent.glob("*/weights/rin_*.safetensors"))}


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
