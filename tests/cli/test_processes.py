"""The command line in processes of its own: as a module, as a script, and with two ranks."""

import subprocess
import sys
from pathlib import Path

import pytest
import toys
import yaml

CONFIG = """
model: {class_path: ToyModel, init_args: {image_size: "${data.init_args.image_size}"}}
data: {class_path: ToyData}
trainer:
  accelerator: cpu
  max_epochs: 1
  enable_progress_bar: false
  callbacks: [{class_path: ModelCheckpoint, init_args: {save_last: true}}]
"""


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configuration in an empty working directory."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "toy.yaml"
    path.write_text(CONFIG)
    return path


def test_as_a_module_and_without_tips(toy: Path) -> None:
    code = "import toys, sys; from lightning_binding.cli import main; main(sys.argv[1:])"
    environment = {"PYTHONPATH": str(Path(toys.__file__).parent), "PATH": "", "OMP_NUM_THREADS": "1"}
    result = subprocess.run(
        [sys.executable, "-c", code, "fit", "--config", "toy.yaml"],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
    )
    assert "Tip" not in result.stdout + result.stderr
    assert "Deprecat" not in result.stdout + result.stderr
    assert "Run folder: runs/toy/version_0" in result.stderr
    version = subprocess.run(
        [sys.executable, "-m", "lightning_binding", "--version"], capture_output=True, text=True, check=True
    )
    assert version.stdout.startswith("lightning-binding ")


def test_ddp_with_ema(toy: Path) -> None:
    """The factories that the command line makes reach the Trainer, and EMA copies the network: see `BindingModule`."""
    options = ["--trainer.devices=2", "--trainer.strategy=ddp", "--trainer.callbacks+=EMA", "--data.batch_size=1"]
    code = "import toys, sys; from lightning_binding.cli import main; main(sys.argv[1:])"
    (toy.parent / "run.py").write_text(code)
    result = subprocess.run(
        [sys.executable, "run.py", "fit", "--config", "toy.yaml", *options],
        capture_output=True,
        text=True,
        check=False,
        env={"PYTHONPATH": str(Path(toys.__file__).parent), "PATH": "", "OMP_NUM_THREADS": "1"},
    )
    assert result.returncode == 0, result.stderr
    assert [path.name for path in Path("runs/toy").iterdir()] == ["version_0"]
    saved = yaml.safe_load(Path("runs/toy/version_0/config.yaml").read_text())
    assert saved["trainer"]["devices"] == "2"
    assert Path("runs/toy/version_0/checkpoints/last.ckpt").exists()
