"""LAMB as the papers set it, and the truncated cosine."""

import math

import pytest
import timm
import torch
from timm.optim import Lamb
from torch import nn

from lightning_binding import InputError, optim
from lightning_binding.optim import Muon, WarmupCosine, parameter_groups


def rate(step: int, lr: float, total: int, warmup: int, fraction: float) -> float:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=lr)
    return lr * WarmupCosine(optimizer, total, warmup, fraction).lr_lambdas[0](step)


@pytest.mark.parametrize(
    ("step", "expected"), [(0, 0), (5_000, 1e-3), (10_000, 2e-3), (80_000, 1.45400e-3), (150_000, 4.12215e-4)]
)
def test_rate_of_imagenet64(step: int, expected: float) -> None:
    assert rate(step, 2e-3, 150_000, 10_000, 0.7) == pytest.approx(expected, rel=1e-5)


def test_rate_of_cifar10() -> None:
    assert rate(150_000, 3e-3, 150_000, 10_000, 0.8) == pytest.approx(2.86475e-4, rel=1e-5)


def test_rate_stays_at_its_end() -> None:
    assert rate(300, 1.0, 100, 10, 0.8) == rate(100, 1.0, 100, 10, 0.8)


def test_rate_follows_the_optimizer_step_by_step() -> None:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=2.0)
    scheduler = WarmupCosine(optimizer, total_steps=20, warmup_steps=4)
    for step in range(20):
        expected = 2 * (step / 4 if step < 4 else 0.5 * (1 + math.cos(math.pi * (step - 4) / 16)))
        assert optimizer.param_groups[0]["lr"] == pytest.approx(expected)
        optimizer.step()
        scheduler.step()


@pytest.mark.parametrize(
    ("options", "message"), [({"warmup_steps": -1}, "warmup_steps"), ({"fraction": 0.0}, "fraction")]
)
def test_rates_out_of_range(options: dict[str, float], message: str) -> None:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    with pytest.raises(InputError, match=message):
        WarmupCosine(optimizer, total_steps=8, **options)  # type: ignore[arg-type]


def lamb_step(shape: tuple[int, ...], value: list[float], **options: float) -> torch.Tensor:
    parameter = nn.Parameter(torch.tensor(value).reshape(shape))
    before = parameter.detach().clone()
    parameter.grad = torch.ones(shape)
    Lamb(parameter_groups([parameter]), lr=0.1, eps=1e-8, max_grad_norm=None, **options).step()  # type: ignore[arg-type]
    return (parameter.detach() - before).flatten()


def test_lamb_scales_a_matrix_by_its_trust_ratio() -> None:
    expected = -0.1 * 5 / math.sqrt(2)  # |w| / |u| with w = (3, 4), u = (1, 1); a decay of 1e-30 keeps the ratio on
    assert torch.allclose(lamb_step((1, 2), [3.0, 4.0], weight_decay=1e-30), torch.full((2,), expected), rtol=1e-5)


def test_lamb_does_not_adapt_vectors_or_zero_weights() -> None:
    assert torch.allclose(lamb_step((2,), [3.0, 4.0], weight_decay=0.01), torch.full((2,), -0.1), rtol=1e-5)
    assert torch.allclose(lamb_step((1, 2), [0.0, 0.0], weight_decay=0.01), torch.full((2,), -0.1), rtol=1e-5)


def test_lamb_clips_nothing() -> None:
    small, large = (nn.Parameter(torch.tensor([[3.0, 4.0]])) for _ in range(2))
    for parameter, scale in ((small, 1.0), (large, 1e6)):
        parameter.grad = scale * torch.tensor([[1.0, 2.0]])
        optimizer = Lamb(parameter_groups([parameter]), lr=0.1, eps=1e-8, max_grad_norm=None)
        optimizer.step()
        assert torch.allclose(optimizer.state[parameter]["exp_avg"], 0.1 * parameter.grad)


def test_groups_are_all_parameters_once_and_decay_matrices_alone() -> None:
    network = timm.create_model("rin_tiny")
    decayed, exempt = parameter_groups(network.parameters())
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    assert len(decayed["params"]) + len(exempt["params"]) == len(names)
    assert "weight_decay" not in decayed
    assert exempt["weight_decay"] == 0
    assert all(
        names[id(parameter)].endswith("bias") or "norm" in names[id(parameter)] for parameter in exempt["params"]
    )
    assert {"interface_position", "latent_position"} <= {names[id(parameter)] for parameter in decayed["params"]}


@pytest.mark.parametrize("fast", [True, False])
def test_muon_is_exact_where_bfloat16_is_slow(fast: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(optim, "processor_has_bfloat16", lambda: fast)
    torch.manual_seed(0)
    ours, timms = (nn.Parameter(torch.ones(6, 4)) for _ in range(2))
    ours.grad = timms.grad = torch.randn(6, 4)
    iteration = timm.optim.muon.zeropower_via_newtonschulz
    Muon([ours], lr=0.1).step()
    assert timm.optim.muon.zeropower_via_newtonschulz is iteration
    timm.optim.Muon([timms], lr=0.1).step()
    assert torch.equal(ours, timms) == fast
    torch.testing.assert_close(ours, timms, atol=1e-3, rtol=0)
