"""Scalable Binding (Jabri, 2023) as a PyTorch Lightning framework."""

from lightning_binding import _torchvision  # noqa: F401  # isort: skip  (before anything imports torchvision)
