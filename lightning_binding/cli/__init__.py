"""The command line: the only place that knows every room of the house."""

from lightning_binding.cli.app import COMMANDS, main, shell
from lightning_binding.cli.stages import STAGES, BindingCLI

__all__ = ["COMMANDS", "STAGES", "BindingCLI", "main", "shell"]
