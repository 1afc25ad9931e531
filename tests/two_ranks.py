"""Runs of the command line on two ranks, which are forks of this process."""

from pathlib import Path

from lightning_binding.cli import main


def fit(config: str, folder: Path, *options: str) -> Path:
    """Fits a configuration, the text of a YAML file, in `folder`; returns the folder of its checkpoints."""
    path = folder.parent / "two.yaml"
    path.write_text(config)
    fork = "--trainer.strategy=ddp_fork"
    main(["fit", "--config", str(path), f"--trainer.default_root_dir={folder}", fork, *options])
    return folder / "checkpoints"
