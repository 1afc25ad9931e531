"""Files of MATLAB: the arrays that scipy wrote, and what is none in words."""

import zlib
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from lightning_binding import InputError
from lightning_binding.data import matlab
from lightning_binding.data.matlab import read_array

RNG = np.random.default_rng(0)
ARRAYS = {
    "whole": np.arange(90.0).reshape(2, 15, 3),  # MATLAB itself would store bytes
    "real": RNG.standard_normal((2, 15, 40)),
    "integers": RNG.integers(-9, 9, (3, 4)).astype(np.int16),
    "one": np.full((1, 1), 3, np.float32),
    "empty": np.zeros((2, 0, 3)),
}


@pytest.mark.parametrize("deflated", [False, True])
@pytest.mark.parametrize("name", ARRAYS)
def test_the_arrays_that_were_written(tmp_path: Path, name: str, deflated: bool) -> None:
    path = tmp_path / "a.mat"
    others = {"scale": 1.0, "viewpoint": "N", "cells": {"a": 1}}
    savemat(path, {**others, "array": ARRAYS[name], "after": 2}, do_compression=deflated)
    np.testing.assert_array_equal(read_array(path, "array"), ARRAYS[name], strict=True)
    assert read_array(path, "nothing") is None
    for other in ("viewpoint", "cells"):
        with pytest.raises(InputError, match=f"a\\.mat cannot be read .* {other} is no array of real numbers"):
            read_array(path, other)


def test_what_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.mat"
    savemat(path, {"array": ARRAYS["real"]}, do_compression=True)
    content = path.read_bytes()
    head, bomb = content[: matlab.HEADER], zlib.compress(bytes(10_000_000))
    monkeypatch.setattr(matlab, "MOST_BYTES", 1_000_000)
    for damaged, message in (
        (b"", "it is none of version 5 to 7"),
        (b"MATLAB 7.3 MAT-file".ljust(124) + b"\0\2IM" + bytes(400), "it is none of version 5 to 7"),
        (content[:-9], "it is cut off"),
        (content[:200] + bytes(8) + content[208:], "decompressing data"),
        (
            head + np.array([matlab.COMPRESSED, len(bomb)], "<u4").tobytes() + bomb,
            "inflates to more than 1000000 bytes",
        ),
        (bytes(1_000_001), "longer than 1000000 bytes"),
    ):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match=message):
            read_array(path, "array")
    with pytest.raises(InputError, match="No such file"):
        read_array(tmp_path / "b.mat", "array")
