"""The guard: it mends torchvision beside a CPU-only torch, and touches nothing else."""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from lightning_binding import _torchvision

GUARD = Path(_torchvision.__file__)
LOAD = f"""
import importlib.util, sys, torch
spec = importlib.util.spec_from_file_location("guard", {str(GUARD)!r})
guard = importlib.util.module_from_spec(spec)
"""
# What a torchvision does when it is imported: its library brings the operators, then the Python part adds to them.
HEALTHY = """
import torch
library = torch.library.Library("torchvision", "DEF")
library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
library.impl("nms", lambda dets, scores, iou_threshold: scores.argsort(descending=True), "CPU")
torch.library.register_fake("torchvision::nms")(lambda dets, scores, iou_threshold: scores.long())
"""
BROKEN = """
import torch
for name in ("nms", "qnms"):
    torch.library.register_fake(f"torchvision::{name}")(lambda dets, scores, iou_threshold: scores.long())
"""


# A process that has torch and nothing that needs torchvision; each line of its input is run in a fork of it.
SERVE = """
import json, os, sys, tempfile, traceback
import torch
for line in sys.stdin:
    code, files = json.loads(line), [tempfile.TemporaryFile("w+") for _ in range(2)]
    if not (child := os.fork()):
        for stream, file in enumerate(files, start=1):
            os.dup2(file.fileno(), stream)
        status = 1
        try:
            exec(code, {"__name__": "__main__"})
            status = 0
        except BaseException:
            traceback.print_exc()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    for file in files:
        file.seek(0)
    print(json.dumps([status, *(file.read() for file in files)]), flush=True)
"""


@dataclass
class Ended:
    """How a process ended."""

    returncode: int
    stdout: str
    stderr: str


class Python:
    """Runs code where torch is imported, and torchvision is not, with folders in front of the installed packages."""

    def __init__(self) -> None:
        command = [sys.executable, "-c", SERVE]
        self.server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __call__(self, code: str, *paths: Path) -> Ended:
        assert self.server.stdin is not None
        assert self.server.stdout is not None
        code = f"import sys; sys.path[:0] = {[str(path) for path in paths]!r}\n{code}"
        print(json.dumps(code), file=self.server.stdin, flush=True)
        return Ended(*json.loads(self.server.stdout.readline()))


@pytest.fixture(scope="module")
def python() -> Iterator[Python]:
    python = Python()
    yield python
    python.server.communicate()


@pytest.fixture
def fake(tmp_path: Path) -> Path:
    """The source of a torchvision that stands in front of the real one."""
    (tmp_path / "torchvision").mkdir()
    return tmp_path / "torchvision" / "__init__.py"


@pytest.fixture(scope="module")
def guarded(python: Python) -> Ended:
    """All that a method needs, where torch alone was imported; it prints whether the guard had anything to do."""
    return python("""
import lightning_binding, timm, torchmetrics.image.fid, torch_fidelity, lightning.pytorch, torchvision, torch
from torchvision.transforms import v2
small = v2.Resize(2, antialias=True)(torch.arange(16.).reshape(1, 4, 4))
assert small.shape == (1, 2, 2)
assert timm.create_model("resnet18", num_classes=2).eval()(torch.zeros(1, 3, 32, 32)).shape == (1, 2)
assert torchvision.utils.make_grid(torch.zeros(4, 3, 2, 2)).shape[0] == 3
from lightning_binding import _torchvision
print(_torchvision._library is not None)
""")


def test_everything_imports_after_the_package(guarded: Ended) -> None:
    assert guarded.returncode == 0, guarded.stderr


def test_guard_is_needed_here_and_knows_it(guarded: Ended, python: Python) -> None:
    alone = python("import torchvision")
    needed = alone.returncode != 0
    assert guarded.stdout.strip() == str(needed)
    if needed:
        assert "operator torchvision::nms does not exist" in alone.stderr
    else:
        code = "import lightning_binding, torch, torchvision; boxes = torch.tensor([[0.0, 0, 1, 1]] * 2)"
        kept = python(f"{code}; print(torchvision.ops.nms(boxes, torch.tensor([0.2, 0.9]), 0.5).tolist())")
        assert kept.stdout.strip() == "[1]", kept.stderr


def test_a_healthy_torchvision_is_left_alone(fake: Path, python: Python) -> None:
    fake.write_text(HEALTHY)
    code = LOAD + "spec.loader.exec_module(guard)\nassert guard._library is None"
    code += "\nboxes, scores = torch.eye(4)[:3], torch.tensor([0.2, 0.9, 0.5])"
    code += "\nassert torch.ops.torchvision.nms(boxes, scores, 0.5).tolist() == [1, 2, 0]  # its own, not a bare schema"
    code += "\nassert not hasattr(torch.ops.torchvision, 'qnms')  # nothing was declared"
    result = python(code, fake.parents[1])
    assert result.returncode == 0, result.stderr


def test_a_broken_one_is_given_its_two_operators(fake: Path, python: Python) -> None:
    fake.write_text(BROKEN)
    code = LOAD + "torch.version.cuda = None\nspec.loader.exec_module(guard)\nassert guard._library is not None"
    code += "\nprint(torch.ops.torchvision.nms.default._schema)\nprint(torch.ops.torchvision.qnms.default._schema)"
    result = python(code, fake.parents[1])
    assert result.returncode == 0, result.stderr
    signature = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
    assert result.stdout.splitlines() == [f"torchvision::nms{signature}", f"torchvision::qnms{signature}"]


def test_with_cuda_a_broken_one_stays_broken(fake: Path, python: Python) -> None:
    fake.write_text(BROKEN)  # it would be mended without CUDA
    result = python(LOAD + "torch.version.cuda = '13.0'\nspec.loader.exec_module(guard)", fake.parents[1])
    assert result.returncode == 1
    assert result.stderr.strip().endswith("RuntimeError: operator torchvision::nms does not exist")


def test_what_else_is_wrong_with_torchvision_is_raised(fake: Path, python: Python) -> None:
    fake.write_text("raise RuntimeError('something else')")
    result = python(LOAD + "torch.version.cuda = None\nspec.loader.exec_module(guard)", fake.parents[1])
    assert result.returncode == 1
    assert result.stderr.strip().endswith("RuntimeError: something else")


def test_without_torchvision_it_is_an_import_error(python: Python) -> None:
    code = LOAD + "torch.version.cuda = None\nsys.modules['torchvision'] = None"
    code += "\ntry:\n    spec.loader.exec_module(guard)\nexcept ModuleNotFoundError as error:\n    print(error.name)"
    code += "\nassert not hasattr(torch.ops.torchvision, 'nms')  # nothing was declared for it"
    result = python(code)
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == "torchvision"


def test_package_runs_the_guard_before_its_other_imports() -> None:
    source = (GUARD.parent / "__init__.py").read_text()
    imports = [line for line in source.splitlines() if line.startswith(("import ", "from "))]
    assert imports[0].startswith("from lightning_binding import _torchvision")
