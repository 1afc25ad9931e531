"""Files that promise more than they hold: refused by a sentence before anything is unpacked."""

import json
import struct
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from lightning_binding import InputError, limits
from lightning_binding.cli.configs import check_config
from lightning_binding.crw.annotations import read_points
from lightning_binding.masks import PALETTE, read_mask
from lightning_binding.metrics.streaming import StreamingFrechet
from lightning_binding.module import BindingModule
from lightning_binding.weights import read_checkpoint


def huge_png(path: Path, side: int) -> Path:
    """A PNG of a few bytes whose header promises `side` by `side` pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    return path


@pytest.mark.filterwarnings("ignore:Image size")
@pytest.mark.parametrize("side", [12_000, 60_000])
def test_a_picture_that_promises_too_many_pixels_is_not_decoded(tmp_path: Path, side: int) -> None:
    with pytest.raises(InputError, match=r"pixels"):
        read_mask(huge_png(tmp_path / "mask.png", side))


def test_a_photograph_is_no_mask_whatever_its_number_of_colours(tmp_path: Path) -> None:
    ids = np.arange(256, dtype=np.uint8).reshape(16, 16)
    Image.fromarray(PALETTE[ids]).save(tmp_path / "mask.png")
    assert read_mask(tmp_path / "mask.png").tolist() == ids.tolist()
    noise = np.random.default_rng(0).integers(0, 256, (300, 300, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    with pytest.raises(InputError, match="not in the palette"):
        read_mask(tmp_path / "noise.png")


LAUGHS = "a0: &a0 [1, 1]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (LAUGHS, "more than 100000 values"),
        ("a: &a [*a]", "nested too deep"),
        ("a: &a {b: *a}", "nested too deep"),
        ("a: " + "[" * 5000, "nested too deep"),
        ("a: " + "[" * 150 + "]" * 150, "nested too deep"),
    ],
)
def test_a_configuration_does_not_unfold_without_end(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(InputError, match=message):
        check_config(tmp_path / "a.yaml")


def test_anchors_that_are_used_as_usual_pass(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("base: &base {size: 1}\none: *base\ntwo: {<<: *base, other: [*base]}\n")
    check_config(tmp_path / "a.yaml")


def test_texts_have_a_length(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MOST_TEXT", 10)
    (tmp_path / "ten").write_text("0123456789")
    (tmp_path / "eleven").write_text("0123456789a")
    assert limits.read_text(tmp_path / "ten") == "0123456789"
    with pytest.raises(InputError, match="longer than 10 bytes"):
        limits.read_text(tmp_path / "eleven")


@pytest.mark.parametrize(
    ("text", "message"), [("[" * 100_000, "nested too deep"), ("[[1, 1" + "0" * 400 + "]]", "no po")]
)
def test_points_that_no_number_holds_are_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "points.json").write_text(text)
    with pytest.raises(InputError, match=message):
        read_points(str(tmp_path / "points.json"))


def test_a_checkpoint_that_unpacks_to_more_than_itself_is_not_unpacked(tmp_path: Path) -> None:
    torch.save({"state_dict": {"weight": torch.zeros(100_000)}}, tmp_path / "whole.ckpt")
    assert len(read_checkpoint(tmp_path / "whole.ckpt")["state_dict"]["weight"]) == 100_000
    with (
        zipfile.ZipFile(tmp_path / "whole.ckpt") as whole,
        zipfile.ZipFile(tmp_path / "bomb.ckpt", "w", zipfile.ZIP_DEFLATED) as bomb,
    ):
        for name in whole.namelist():
            bomb.writestr(name, whole.read(name))
    with pytest.raises(InputError, match="unpacks to"):
        read_checkpoint(tmp_path / "bomb.ckpt")


@pytest.mark.parametrize("key", ["hyper_parameters", "hparams", "module_arguments"])
def test_a_checkpoint_does_not_choose_the_function_that_makes_its_module(tmp_path: Path, key: str) -> None:
    path = tmp_path / "other.ckpt"
    torch.save(
        {
            "state_dict": {},
            "class_path": "lightning_binding.module.BindingModule",
            key: {"_instantiator": "subprocess.call"},
        },
        path,
    )
    with pytest.raises(InputError, match=r"asks to be made by 'subprocess\.call'"):
        BindingModule.from_checkpoint(path)


@pytest.mark.parametrize("damage", [{"count": torch.zeros(2)}, {"sum": torch.zeros(3)}, {"products": None}])
def test_statistics_of_other_shapes_are_refused(tmp_path: Path, damage: dict[str, torch.Tensor | None]) -> None:
    double = {"dtype": torch.float64}
    sums = {"count": torch.tensor(8), "sum": torch.ones(3, **double), "products": torch.ones(3, 3, **double)}
    metric = StreamingFrechet(torch.nn.Identity())
    save_file(sums, tmp_path / "sums.safetensors")
    metric.load_real(tmp_path / "sums.safetensors")
    left = {name: value for name, value in {**sums, **damage}.items() if value is not None}
    save_file(left, tmp_path / "sums.safetensors")
    with pytest.raises(InputError, match="delete it to have it again"):
        metric.load_real(tmp_path / "sums.safetensors")


def test_the_limits_need_no_torch() -> None:
    package = str(Path(limits.__file__).parent)
    program = (
        "import sys, types; p = types.ModuleType('lightning_binding'); p.__path__ = [sys.argv[1]];"
        "sys.modules['lightning_binding'] = p; import lightning_binding.limits; print('torch' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", program, package], capture_output=True, text=True, check=True)
    assert json.loads(result.stdout.lower()) is False
