"""Plain descriptions of what was built in Python."""

from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn

from lightning_binding.hparams import Undescribed, plain, plain_arguments
from lightning_binding.names import did_you_mean
from lightning_binding.rin.objectives import Flow
from lightning_binding.rin.sampling import Sampling
from lightning_binding.rin.schedules import Sigmoid


def test_objects_become_their_class_and_arguments() -> None:
    described = plain(Sampling("heun", 12, Sigmoid(temperature=1.1), guidance_interval=(0.1, 0.9)))
    assert described["class_path"] == "lightning_binding.rin.sampling.Sampling"
    assert described["init_args"]["steps"] == 12
    assert described["init_args"]["guidance_interval"] == [0.1, 0.9]
    assert described["init_args"]["schedule"]["init_args"] == {"start": -3.0, "end": 3.0, "temperature": 1.1}
    assert plain(Flow()) == {"class_path": "lightning_binding.rin.objectives.Flow", "init_args": {}}


def test_plain_things_stay() -> None:
    value = {"a": [1, 2.5, None, True, "x"], "b": (1, 2), "c": Path("x/y")}
    assert plain(value) == {"a": [1, 2.5, None, True, "x"], "b": [1, 2], "c": "x/y"}


@pytest.mark.parametrize("value", [nn.Linear(1, 1), torch.optim.AdamW, partial(max, 1), lambda: 1, len])
def test_what_has_no_description_is_left_out(value: object) -> None:
    with pytest.raises(Undescribed):
        plain(value)
    assert plain_arguments({"a": 1, "b": value, "c": [value]}) == {"a": 1}


def test_nearest_names() -> None:
    assert did_you_mean("epsilom", ["Epsilon", "X0"]) == "; did you mean Epsilon?"
    assert did_you_mean("zzz", ["b", "a"]) == "; known are a, b."
    assert did_you_mean("zzz", []) == "."
