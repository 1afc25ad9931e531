"""Scalable Binding (Jabri, 2023) as a PyTorch Lightning framework."""

from lightning_binding import _torchvision  # noqa: F401  # isort: skip  (before anything imports torchvision)
from lightning_binding import backbones  # noqa: F401  (registers its models with timm)
from lightning_binding.errors import InputError
from lightning_binding.rin import dit, features, presets  # noqa: F401  (register the presets with timm)

__all__ = ["InputError"]
