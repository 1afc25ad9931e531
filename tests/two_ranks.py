"""Runs of the command line in processes of their own, two ranks as a rule."""

import os
import subprocess
import sys
from pathlib import Path


def fit(config: str, folder: Path, *options: str) -> Path:
    """Fits a configuration, the text of a YAML file, in `folder`; returns the folder of its checkpoints."""
    path = folder.parent / "two.yaml"
    path.write_text(config)
    command = [sys.executable, "-m", "lightning_binding", "fit", "--config", str(path)]
    result = subprocess.run(
        [*command, f"--trainer.default_root_dir={folder}", *options],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert result.returncode == 0, result.stderr
    return folder / "checkpoints"
