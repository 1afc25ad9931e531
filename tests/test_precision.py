"""Where bfloat16 is emulated, a run that asks for it is told."""

import warnings
from pathlib import Path

import pytest
import torch
from lightning.pytorch import Trainer
from toys import ToyData, ToyModel

from lightning_binding import module, precision


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [
        ({"architecture": "x86_64", "avx512_bf16": True}, True),
        ({"architecture": "x86_64", "amx_bf16": True}, True),
        ({"architecture": "x86_64", "avx512_f": True}, False),
        ({"architecture": "aarch64", "bf16": False}, False),
        ({}, True),
    ],
)
def test_what_torch_tells(capabilities: dict[str, object], expected: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    assert precision.processor_has_bfloat16.__wrapped__() is expected


@pytest.mark.parametrize(("name", "told"), [("bf16-mixed", True), ("32-true", False)])
def test_a_slow_precision_is_named(name: str, told: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "processor_has_bfloat16", lambda: False)
    trainer = Trainer(
        accelerator="cpu", precision=name, fast_dev_run=True, default_root_dir=tmp_path, enable_progress_bar=False
    )
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        trainer.fit(ToyModel(), ToyData())
    assert any("--trainer.precision 32-true" in str(each.message) for each in seen) is told
