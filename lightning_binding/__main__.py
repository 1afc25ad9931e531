"""`python -m lightning_binding`: the command line."""

from lightning_binding.cli import shell

shell()
