"""The original algorithm's stored outputs are reproduced."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from lightning_binding import InputError
from lightning_binding.rin import samplers, schedules
from lightning_binding.rin.guidance import guided
from lightning_binding.rin.network import RIN

FIXTURES = Path(__file__).parents[1] / "fixtures"
TOLERANCE = 1e-4  # of the largest value, float32

Fixture = dict[str, Tensor]


def load(name: str) -> tuple[RIN, Fixture]:
    """The network, and the arrays with channels where torch has them."""
    arrays = np.load(FIXTURES / name)
    weights = {key: arrays[key] for key in arrays.files if key.startswith("weight/")}
    network = RIN.from_official(weights, str(arrays["config"])).eval()
    tensors = {
        key: torch.from_numpy(arrays[key]) for key in arrays.files if key != "config" and not key.startswith("weight/")
    }
    return network, {key: tensor.movedim(-1, -3) if tensor.ndim >= 4 else tensor for key, tensor in tensors.items()}


@pytest.fixture(scope="module")
def image() -> tuple[RIN, Fixture]:
    return load("rin_image.npz")


def assert_reproduces(ours: Tensor | None, theirs: Tensor) -> None:
    assert ours is not None
    assert ours.shape == theirs.shape
    assert (ours - theirs).abs().max() <= TOLERANCE * theirs.abs().max()


@torch.no_grad()
def test_image_network(image: tuple[RIN, Fixture]) -> None:
    network, arrays = image
    output = network(arrays["x"], arrays["gamma"], arrays["label"], arrays["latents_prev"])
    assert_reproduces(output.prediction, arrays["out"])
    assert_reproduces(output.latents, arrays["latents"])
    assert_reproduces(output.interface, arrays["interface"])


@torch.no_grad()
def test_zero_latents(image: tuple[RIN, Fixture]) -> None:
    network, arrays = image
    output = network(arrays["x"], arrays["gamma"], arrays["label"])
    assert_reproduces(output.prediction, arrays["out_zero_latents"])
    assert_reproduces(output.latents, arrays["latents_zero"])


@torch.no_grad()
@pytest.mark.parametrize("label", [None, torch.full((3,), -1)], ids=["None", "-1"])
def test_null_label(image: tuple[RIN, Fixture], label: Tensor | None) -> None:
    network, arrays = image
    output = network(arrays["x"], arrays["gamma"], label, arrays["latents_prev"])
    assert_reproduces(output.prediction, arrays["out_null_label"])


@torch.no_grad()
def test_video_network() -> None:
    network, arrays = load("rin_video.npz")
    output = network(arrays["x"], arrays["gamma"], None, arrays["latents_prev"], arrays["context"])
    assert_reproduces(output.prediction, arrays["out"])
    assert_reproduces(output.latents, arrays["latents"])
    assert_reproduces(output.interface, arrays["interface"])


@torch.no_grad()
@pytest.mark.parametrize(
    ("stored", "time_difference", "guidance"),
    [("sample_ddim", 0, 0), ("sample_ddim_td1", 1, 0), ("sample_ddim_guided", 0, 1.5)],
)
def test_trajectories(image: tuple[RIN, Fixture], stored: str, time_difference: float, guidance: float) -> None:
    network, arrays = image

    def conditioned(label: Tensor | None) -> Callable[..., tuple[Tensor, Tensor]]:
        return lambda x, gamma, latents: network(x, gamma, label, latents)[:2]

    denoise = conditioned(arrays["label"])
    if guidance:
        denoise = guided(denoise, conditioned(None), guidance)
    sample = samplers.ddim(
        denoise, arrays["sample_noise"], steps=8, schedule=schedules.cosine, time_difference=time_difference
    )
    assert_reproduces(sample, arrays[stored])


def test_missing_and_left_over_variables(image: tuple[RIN, Fixture]) -> None:
    arrays = np.load(FIXTURES / "rin_image.npz")
    weights = {key: arrays[key] for key in arrays.files if key.startswith("weight/")}
    config = str(arrays["config"])
    fewer = {key: value for key, value in weights.items() if "output_linear/bias" not in key}
    with pytest.raises(InputError, match="no variable rin/output_linear/bias"):
        RIN.from_official(fewer, config)
    with pytest.raises(InputError, match=r"left over.*extra"):
        RIN.from_official(weights | {"rin/extra": np.zeros(1)}, config)
    with pytest.raises(InputError, match="shape"):
        RIN.from_official(weights, config.replace('"latents": 8', '"latents": 9'))
    with pytest.raises(InputError, match="unknown sizes"):
        RIN.from_official(weights, config.replace('"latents"', '"latentz"'))
