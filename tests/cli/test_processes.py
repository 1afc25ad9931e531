"""The command line in processes of its own: as a module, as a script, and with two ranks."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import toys
import yaml

from lightning_binding.cli import main

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


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith("lightning-binding ")


RIN = """
model: {class_path: RINDiffusion, init_args: {network: rin_tiny, network_options: {num_classes: 9}}}
data:
  class_path: EmojiDataModule
  init_args: {image_size: 8, batch_size: 8, eval_batch_size: 256, vendors: [twitter], skin_tones: false}
trainer:
  accelerator: cpu
  devices: 2
  strategy: ddp
  max_steps: 2
  val_check_interval: 1
  limit_val_batches: 1
  enable_progress_bar: false
  callbacks:
    - class_path: EMA
    - class_path: ModelCheckpoint
      init_args: {save_last: true}
    - class_path: SampleGrid
      init_args: {num: 2, steps: 2}
    - class_path: GenerationMetrics
      init_args: {num_samples: 20, steps: 2, kid: true, cache_dir: statistics}
    - class_path: HaltOnNonFinite
    - class_path: MetricPlot
"""


@pytest.mark.long
def test_ddp_with_the_callbacks_of_the_recipes(toy: Path) -> None:
    """A rank that does more than the others must not ask them for anything meanwhile: they would not answer.

    The factories that the command line makes reach the Trainer, and EMA copies the network: see `BindingModule`.
    """
    Path("rin.yaml").write_text(RIN)
    command = [sys.executable, "-m", "lightning_binding", "fit", "--config", "rin.yaml"]
    result = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=300, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    assert result.returncode == 0, result.stderr[-3000:]
    folder = Path("runs/rin/version_0")
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]
    assert yaml.safe_load((folder / "config.yaml").read_text())["trainer"]["devices"] == 2
    assert (folder / "checkpoints" / "last.ckpt").exists()
    drawn = {path.name for path in folder.glob("samples/*.png")}
    assert drawn == {"progress.png", *(f"step-{step:08d}.png" for step in range(3))}
    assert (folder / "metrics.png").exists()
    assert "val/kid_emoji_resnet" in (folder / "metrics.csv").read_text()
    assert len(list(Path("statistics").glob("*.features-*-of-2.safetensors"))) == 2
