"""A sharded network on two processes: the network it was, in what it computes, learns and saves."""

import copy
from functools import partial
from typing import Any

import pytest
import timm
import torch
from gloo_pool import GlooPool
from timm.optim import muon
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor

from lightning_binding import InputError, optim
from lightning_binding.crw.module import ContrastiveRandomWalk
from lightning_binding.optim import Muon, parameter_groups, replaced
from lightning_binding.rin.module import RINDiffusion
from lightning_binding.sharding import (
    gather,
    in_parts,
    load_whole_state,
    scatter,
    shard,
    shard_like,
    whole,
    whole_state,
)


def pair(world: int) -> tuple[nn.Module, nn.Module]:
    """A small RIN, and the same one sharded."""
    network = timm.create_model("rin_tiny")
    sharded = copy.deepcopy(network)
    shard(sharded, list(sharded.blocks), init_device_mesh("cpu", (world,)))
    return network, sharded


def loss(network: nn.Module, seed: int) -> Tensor:
    source = torch.Generator().manual_seed(seed)
    prediction = network(torch.randn(2, 3, 8, 8, generator=source), torch.rand(2, generator=source))[0]
    return prediction.square().mean()


def local(network: nn.Module) -> int:
    return sum(parameter.to_local().numel() for parameter in network.parameters() if isinstance(parameter, DTensor))


def learns(rank: int, world: int) -> tuple[float, float]:
    """The share of the parameters that this process has, and the largest difference of gradients."""
    network, sharded = pair(world)
    share = local(sharded) / sum(parameter.numel() for parameter in network.parameters())
    with torch.no_grad():
        loss(sharded, rank)  # as self-conditioning does
    loss(sharded, rank).backward()
    sum(loss(network, seed) for seed in range(world)).div(world).backward()  # type: ignore[union-attr]
    found = [parameter.grad.full_tensor() for parameter in sharded.parameters()]
    expected = [parameter.grad for parameter in network.parameters()]
    return share, max(float((one - other).abs().max()) for one, other in zip(found, expected, strict=True))


def test_each_has_a_part_and_the_gradient_of_all(gloo: GlooPool) -> None:
    for share, difference in gloo(learns):
        assert 0.4 < share < 0.6
        assert difference < 1e-6


def evaluates(rank: int, world: int) -> None:
    network, sharded = pair(world)
    expected, parts = float(loss(network, 0)), local(sharded)
    with torch.inference_mode(), whole(sharded):
        if rank == 0:  # twice, and the other not at all
            assert [float(loss(sharded, 0)) for _ in range(2)] == [expected] * 2
            assert local(sharded) == 0
        with in_parts(sharded):  # as an average is put in
            assert local(sharded) == parts
            for parameter in sharded.parameters():
                parameter.data.mul_(2)
        assert torch.equal(sharded.readout.weight, 2 * network.readout.weight)  # type: ignore[union-attr, operator]
    assert local(sharded) == parts
    loss(sharded, 0).backward()  # and training goes on
    gather(sharded)
    gather(sharded)
    scatter(sharded)
    assert local(sharded) == parts


def test_whole_for_evaluation(gloo: GlooPool) -> None:
    gloo(evaluates)


def saves(rank: int, world: int) -> None:
    network, sharded = pair(world)
    state = whole_state(sharded)
    assert state.keys() == (network.state_dict().keys() if rank == 0 else {}.keys())
    for name, value in state.items():
        assert torch.equal(value, network.state_dict()[name])
    other = timm.create_model("rin_tiny")
    shard_like(other, sharded)
    assert local(other) == local(sharded)
    load_whole_state(other, network.state_dict())
    for one, two in zip(other.parameters(), sharded.parameters(), strict=True):
        assert torch.equal(one.to_local(), two.to_local())  # type: ignore[operator]


def test_whole_in_a_checkpoint(gloo: GlooPool) -> None:
    gloo(saves)


def steps(rank: int, world: int) -> None:
    network, sharded = pair(world)
    update, asked = muon.nadamw, []

    def recorded(*arguments: Any, foreach: bool | None, **options: Any) -> None:
        asked.append(foreach)
        update(*arguments, foreach=foreach, **options)

    # In bfloat16 the iteration makes as much of its rounding as of directions in which the gradient is almost zero.
    with replaced(muon, {"nadamw": recorded}), replaced(optim, {"processor_has_bfloat16": lambda: False}):
        for each in (network, sharded):
            loss(each, 0).backward()
            Muon(parameter_groups(each.parameters()), lr=0.01, nesterov=True).step()
    assert asked == [None] * 2 + [False] * 2  # on a GPU not every operation on many knows parts
    assert muon.nadamw is update
    for one, two in zip(network.parameters(), sharded.parameters(), strict=True):
        torch.testing.assert_close(two.full_tensor(), one, rtol=2e-3, atol=2e-4)  # type: ignore[operator]


def test_muon_of_parts(gloo: GlooPool) -> None:
    gloo(steps)


@pytest.mark.parametrize("given", [{}, {"foreach": True}])
def test_optimizers_of_parts_go_one_by_one_unless_told(given: dict[str, bool]) -> None:
    module = RINDiffusion("rin_tiny", optimizer=partial(torch.optim.AdamW, **given))
    assert [group["foreach"] for group in module.configure_optimizers().param_groups] == [given.get("foreach")] * 2
    module._device_mesh = {"data_parallel": None}  # type: ignore[assignment]  # as the strategy gives one
    assert [group["foreach"] for group in module.configure_optimizers().param_groups] == [bool(given)] * 2


def refuses(rank: int, world: int) -> str:
    with pytest.raises(InputError) as error:
        shard(nn.Linear(2, 2), [], init_device_mesh("cpu", (world,)))
    return str(error.value)


def test_what_has_no_parts_is_refused(gloo: GlooPool) -> None:
    for sentence in gloo(refuses):
        assert "Linear has none to shard: use DDP (--config configs/trainer/ddp.yaml)" in sentence


def test_a_method_that_it_does_not_suit_is_refused() -> None:
    module = ContrastiveRandomWalk("resnet18", layer="layer1", stride=4, dim=16)
    module._device_mesh = {"data_parallel": None}  # type: ignore[assignment]  # as the strategy gives one
    with pytest.raises(InputError, match="ContrastiveRandomWalk has none to shard"):
        module.configure_model()
