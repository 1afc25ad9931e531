"""The training loss: self-conditioning, label dropout, input scaling."""

from typing import Any

import pytest
import timm
import torch
from torch import Tensor

from lightning_binding import InputError
from lightning_binding.rin.diffusion import Diffusion
from lightning_binding.rin.objectives import X0, Epsilon
from lightning_binding.rin.sampling import Sampling
from lightning_binding.rin.schedules import Linear, Sigmoid


class Spy:
    """A denoiser that keeps what it is called with, and answers with zeros and latents of ones."""

    def __init__(self) -> None:
        self.calls: list[dict[str, Any]] = []
        self.weight = torch.nn.Parameter(torch.ones(()))

    def __call__(
        self, x: Tensor, gamma: Tensor, label: Tensor | None, latents: Tensor | None, context: Any = None, **more: Any
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        self.calls.append({"x": x, "gamma": gamma, "label": label, "latents": latents, **more})
        return self.weight * torch.zeros_like(x), self.weight * torch.ones(len(x), 4, 6), None


def diffusion(**options: Any) -> Diffusion:
    return Diffusion(Linear(), Epsilon(), **options)


def test_both_passes_see_the_same_noise_and_no_gradient_flows_into_the_first() -> None:
    spy, x_0 = Spy(), torch.randn(5, 3, 4, 4)
    diffusion(self_conditioning=1.0).losses(spy, x_0, torch.arange(5))
    first, second = spy.calls
    assert torch.equal(first["x"], second["x"])
    assert torch.equal(first["gamma"], second["gamma"])
    assert first["latents"] is None
    assert first["readout"] is False
    assert not second["latents"].requires_grad
    assert torch.equal(second["latents"], torch.ones(5, 4, 6))


def test_self_conditioning_is_masked_for_each_example() -> None:
    spy = Spy()
    generator = torch.Generator().manual_seed(0)
    diffusion(self_conditioning=0.9).losses(spy, torch.zeros(20_000, 1, 1, 1), generator=generator)
    kept = spy.calls[1]["latents"]
    assert torch.equal(kept, kept[:, :1, :1].expand_as(kept))  # all latents of an example together
    assert kept[:, 0, 0].mean() == pytest.approx(0.9, abs=0.01)


def test_without_self_conditioning_there_is_one_pass() -> None:
    spy = Spy()
    diffusion(self_conditioning=0.0).losses(spy, torch.randn(5, 3, 4, 4))
    assert len(spy.calls) == 1
    assert spy.calls[0]["latents"] is None


@pytest.mark.parametrize("rate", [0.0, 0.5])
def test_sampling_carries_latents_only_where_training_did(rate: float) -> None:
    spy = Spy()
    Sampling(steps=3)(spy, diffusion(self_conditioning=rate), torch.randn(2, 3, 4, 4))
    assert [call["latents"] is not None for call in spy.calls] == [False, rate > 0, rate > 0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"input_scale": 0.0}, "input_scale=0.0 must be positive"),
        ({"input_scale": float("nan")}, "input_scale=nan"),
        ({"self_conditioning": 1.5}, r"self_conditioning=1.5 must be a share of the examples, in \[0, 1\]"),
        ({"label_dropout": -0.1}, "label_dropout=-0.1 must be a share"),
    ],
)
def test_options_out_of_range(options: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        diffusion(**options)


def test_dropped_labels_are_null_in_both_passes() -> None:
    spy = Spy()
    generator = torch.Generator().manual_seed(0)
    label = torch.randint(7, (20_000,))
    diffusion(label_dropout=0.2).losses(spy, torch.zeros(20_000, 1, 1, 1), label, generator=generator)
    first, second = (call["label"] for call in spy.calls)
    assert torch.equal(first, second)
    assert (first == -1).float().mean() == pytest.approx(0.2, abs=0.01)
    assert torch.equal(first[first >= 0], label[first >= 0])


def test_loss_is_the_mean_square_of_the_target() -> None:
    spy, x_0 = Spy(), torch.randn(6, 3, 4, 4)
    losses = Diffusion(Sigmoid(), X0()).losses(spy, x_0)
    assert torch.allclose(losses.loss, x_0.square().flatten(1).mean(dim=1))  # the spy predicts 0


def test_input_scaling_and_normalisation() -> None:
    spy, generator = Spy(), torch.Generator().manual_seed(0)
    process = diffusion(input_scale=0.5, normalize_input=True)
    x_0 = 0.5 * torch.randn(64, 3, 32, 32)
    process.losses(spy, x_0, generator=generator)
    assert torch.allclose(spy.calls[0]["x"].flatten(1).std(dim=1, correction=0), torch.ones(64), atol=1e-5)

    gamma, b = 0.6, 0.5
    x_t = gamma**0.5 * x_0 + (1 - gamma) ** 0.5 * torch.randn(x_0.shape, generator=generator)
    assert x_t.var() == pytest.approx((b**2 - 1) * gamma + 1, rel=0.02)


@pytest.mark.parametrize("scale", [1.0, 0.3])
def test_images_round_trip(scale: float) -> None:
    process, images = diffusion(input_scale=scale), torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16)
    x_0 = process.from_images(images)
    assert x_0.min() == pytest.approx(-scale)
    assert x_0.max() == pytest.approx(scale)
    assert torch.equal(process.to_images(x_0), images)


def test_a_tiny_network_learns() -> None:
    torch.manual_seed(0)
    network = timm.create_model("rin_tiny", num_classes=2)
    process = Diffusion(Sigmoid(), Epsilon())
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3)
    label = torch.arange(32) % 2
    x_0 = (2.0 * label - 1)[:, None, None, None].expand(-1, 3, 8, 8)  # all black or all white, as the label says
    losses = []
    for _ in range(60):
        loss = process.losses(network, x_0, label).loss.mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert sum(losses[-10:]) < 0.5 * sum(losses[:10])
