"""Attention maps: on request, right, and without a trace afterwards."""

import pytest
import timm
import torch
from torch import nn

from lightning_binding import InputError
from lightning_binding.rin.attention import AttentionMaps, record_attention


def inputs() -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(3, 3, 8, 8), torch.rand(3)


@torch.no_grad()
def test_maps_of_every_read_and_write() -> None:
    network, (x, gamma) = timm.create_model("rin_tiny", blocks=[1, 2]).eval(), inputs()
    before = network(x, gamma).prediction
    with record_attention(network) as maps:
        during = network(x, gamma)
        network(x, gamma, None, during.latents)
        network(x, gamma, readout=False)
    assert torch.equal(before, during.prediction)
    assert [len(call) for call in maps.read] == [2, 2, 2]
    assert [len(call) for call in maps.write] == [2, 2, 1]  # the last write is left out without readout
    for call in range(3):
        for weights in maps.read[call]:
            assert weights.shape == (3, 2, 8, 16)
        for weights in maps.write[call]:
            assert weights.shape == (3, 2, 16, 8)
        for weights in maps.read[call] + maps.write[call]:
            assert (weights >= 0).all()
            assert torch.allclose(weights.sum(dim=-1), torch.ones(()), atol=1e-5)
    computation = maps.computation(0)
    assert computation.shape == (2, 3, 16)
    assert torch.allclose(computation.sum(dim=-1), torch.ones(()), atol=1e-5)


@torch.no_grad()
def test_the_maps_are_those_that_mix_the_values() -> None:
    network, (x, gamma) = timm.create_model("rin_tiny", blocks=[1]).eval(), inputs()
    read = network.blocks[0].read.attention
    kept: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = []
    handle = read.register_forward_hook(lambda module, given, output: kept.append((*given, output)))
    with record_attention(network) as maps:
        network(x, gamma)
    handle.remove()
    (_, source, output), weights = kept[0], maps.read[0][0]
    values = read.value(source).unflatten(-1, (2, 8)).transpose(1, 2)  # (B, heads, n, k)
    mixed = (weights @ values).transpose(1, 2).flatten(2)
    assert torch.allclose(read.out(mixed), output, atol=1e-5)


@torch.no_grad()
def test_nothing_is_recorded_outside_of_the_context() -> None:
    network, (x, gamma) = timm.create_model("rin_tiny").eval(), inputs()
    seen: list[AttentionMaps] = []

    def interrupted() -> None:
        with record_attention(network) as maps:
            seen.append(maps)
            network(x, gamma)
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        interrupted()
    network(x, gamma)
    assert len(seen[0].read) == 1
    assert all(block.read.attention.recorded is None for block in network.blocks)
    assert not network._forward_hooks


def test_another_network_has_no_maps() -> None:
    with pytest.raises(InputError, match="Linear"), record_attention(nn.Linear(1, 1)):
        pass
