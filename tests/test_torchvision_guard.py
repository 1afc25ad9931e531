"""The guard: it mends torchvision beside a CPU-only torch, and touches nothing else."""

import subprocess
import sys
from pathlib import Path

import pytest

from lightning_binding import _torchvision

GUARD = Path(_torchvision.__file__)
LOAD = f"""
import importlib.util, sys
import torch
spec = importlib.util.spec_from_file_location("guard", {str(GUARD)!r})
guard = importlib.util.module_from_spec(spec)
"""


def python(code: str, *paths: Path) -> subprocess.CompletedProcess[str]:
    """Runs code in a new process, with folders in front of the installed packages."""
    code = f"import sys; sys.path[:0] = {[str(path) for path in paths]!r}\n{code}"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


@pytest.fixture
def fake(tmp_path: Path) -> Path:
    """The source of a torchvision that stands in front of the real one."""
    (tmp_path / "torchvision").mkdir()
    return tmp_path / "torchvision" / "__init__.py"


def test_everything_imports_after_the_package() -> None:
    code = """
import lightning_binding, timm, torchmetrics.image.fid, torch_fidelity, lightning.pytorch, torchvision, torch
from torchvision.transforms import v2
small = v2.Resize(2, antialias=True)(torch.arange(16.).reshape(1, 4, 4))
assert small.shape == (1, 2, 2)
assert timm.create_model("resnet18", num_classes=2).eval()(torch.zeros(1, 3, 32, 32)).shape == (1, 2)
assert torchvision.utils.make_grid(torch.zeros(4, 3, 2, 2)).shape[0] == 3
"""
    result = python(code)
    assert result.returncode == 0, result.stderr


def test_guard_is_needed_here_and_knows_it() -> None:
    alone = python("import torchvision")
    guarded = python("from lightning_binding import _torchvision; print(_torchvision._library is not None)")
    assert guarded.returncode == 0, guarded.stderr
    needed = alone.returncode != 0
    assert guarded.stdout.strip() == str(needed)
    if needed:
        assert "operator torchvision::nms does not exist" in alone.stderr


def test_a_healthy_torchvision_is_left_alone(fake: Path) -> None:
    fake.write_text("healthy = True\n")
    code = (
        LOAD
        + "spec.loader.exec_module(guard)\nassert guard._library is None\nassert sys.modules['torchvision'].healthy"
    )
    code += "\nassert not hasattr(torch.ops.torchvision, 'nms')  # nothing was declared"
    result = python(code, fake.parents[1])
    assert result.returncode == 0, result.stderr


def test_a_broken_one_is_given_its_two_operators(fake: Path) -> None:
    fake.write_text(
        "import torch\nfor name in ('nms', 'qnms'):\n    torch.library.register_fake(f'torchvision::{name}')(print)"
    )
    code = LOAD + "torch.version.cuda = None\nspec.loader.exec_module(guard)\nassert guard._library is not None"
    code += "\nprint(torch.ops.torchvision.nms.default._schema)"
    result = python(code, fake.parents[1])
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == "torchvision::nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"


def test_with_cuda_the_error_is_raised(fake: Path) -> None:
    fake.write_text("raise RuntimeError('operator torchvision::nms does not exist')")
    code = LOAD + "torch.version.cuda = '13.0'\nspec.loader.exec_module(guard)"
    result = python(code, fake.parents[1])
    assert result.returncode == 1
    assert result.stderr.strip().endswith("RuntimeError: operator torchvision::nms does not exist")


def test_without_torchvision_it_is_an_import_error() -> None:
    result = python(LOAD + "sys.modules['torchvision'] = None\nspec.loader.exec_module(guard)")
    assert result.returncode == 1
    assert "ModuleNotFoundError" in result.stderr


def test_package_runs_the_guard_before_its_other_imports() -> None:
    source = (GUARD.parent / "__init__.py").read_text()
    imports = [line for line in source.splitlines() if line.startswith(("import ", "from "))]
    assert imports[0].startswith("from lightning_binding import _torchvision")
