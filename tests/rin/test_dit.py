"""The transformer of uniform cost: zero at initialisation, equivariant, of a RIN's cost, trained by the same module."""

from typing import Any

import pytest
import timm
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from lightning_binding import InputError
from lightning_binding.rin import cost
from lightning_binding.rin.dit import DIT_PRESETS, DiT, forward_macs
from lightning_binding.rin.module import RINDiffusion
from lightning_binding.rin.objectives import X0
from lightning_binding.rin.schedules import Rectified
from lightning_binding.rin.video import RINVideoDiffusion


def trained_looking(network: DiT, seed: int = 0) -> DiT:
    """The same network with weights that are nowhere zero."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return network


def small(**options: Any) -> DiT:
    return DiT(**{"image_size": 8, "patch_size": 4, "width": 16, "depth": 2, "heads": 2, "num_classes": 3} | options)


def test_at_initialisation_the_output_is_zero_and_blocks_change_nothing() -> None:
    network, x, gamma = small(), torch.randn(2, 3, 8, 8), torch.rand(2)
    prediction, latents, interface = network(x, gamma, torch.tensor([0, 2]))
    assert torch.equal(prediction, torch.zeros_like(x))
    assert latents is None
    assert interface is None
    tokens = torch.randn(2, 4, 16)
    for block in network.blocks:
        assert torch.equal(block(tokens, torch.randn(2, 16)), tokens)


@settings(max_examples=10)
@given(seed=st.integers(0, 99), frames=st.sampled_from([1, 4]))
def test_patches_that_move_with_their_positions_move_in_the_output(seed: int, frames: int) -> None:
    network = trained_looking(small(frames=frames, temporal_patch=2 if frames > 1 else 1), seed)
    order = torch.randperm(network.position.shape[0], generator=torch.Generator().manual_seed(seed))
    x = torch.randn(2, 3, 8, 8) if frames == 1 else torch.randn(2, frames, 3, 8, 8)
    gamma = torch.rand(2)

    def permute(x: Tensor) -> Tensor:
        rows = network.patches.to_rows(x if x.ndim == 5 else x[:, None])[:, order]
        moved = network.patches.to_video(rows, frames, 8, 8)
        return moved if x.ndim == 5 else moved[:, 0]

    expected = permute(network(x, gamma)[0])
    network.position.data = network.position.data[order]
    assert torch.allclose(network(permute(x), gamma)[0], expected, atol=1e-5)


def test_noise_level_class_and_context_matter() -> None:
    network = trained_looking(small(frames=4, temporal_patch=2, context_frames=2))
    x, context = torch.randn(1, 2, 3, 8, 8), torch.randn(1, 2, 3, 8, 8)
    gamma = torch.tensor([0.3])
    base = network(x, gamma, torch.tensor([1]), context=context)[0]
    assert base.shape == x.shape
    others = [
        network(x, gamma + 0.1, torch.tensor([1]), context=context)[0],
        network(x, gamma, torch.tensor([2]), context=context)[0],
        network(x, gamma, None, context=context)[0],
        network(x, gamma, torch.tensor([1]), context=context.flip(1))[0],
    ]
    assert all((base - other).abs().max() > 1e-3 for other in others)
    null = network(x, gamma, torch.tensor([-1]), context=context)[0]
    assert torch.equal(null, others[2])


def test_in_time_the_context_comes_before_what_is_predicted() -> None:
    network = small(frames=6, temporal_patch=2, context_frames=2, width=48)
    whole = small(frames=6, temporal_patch=2, width=48)
    assert torch.equal(network.position, torch.cat([whole.position[4:], whole.position[:4]]))


@pytest.mark.parametrize("name", DIT_PRESETS)
def test_a_preset_costs_what_the_rin_of_its_name_does(name: str) -> None:
    with torch.device("meta"):
        dit, rin = timm.create_model(name), timm.create_model(name.replace("dit_", "rin_"))
    assert forward_macs(dit) == pytest.approx(cost.forward_macs(rin), rel=0.005)
    shared = ("image_size", "in_channels", "num_classes", "frames", "context_frames", "patches", "noisy_tokens")
    assert {each: getattr(dit, each) for each in shared} == {each: getattr(rin, each) for each in shared}


@pytest.mark.parametrize("name", ["dit_emoji32", "dit_sprites"])
def test_multiply_accumulates_are_those_that_torch_counts(name: str) -> None:
    with torch.device("meta"):
        network = timm.create_model(name)
        given = network.context_frames
        shape = (network.frames - given, 3, 32, 32) if network.frames > 1 else (3, 32, 32)
        context = torch.empty(1, given, 3, 32, 32) if given else None
        with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter, torch.no_grad():
            network(torch.empty(1, *shape), torch.empty(1), context=context)
    d, classes = network.width, network.num_classes
    embedding = d * d // 4 + d**2 + classes * d  # of noise level and class, left out by the formula
    assert counter.get_total_flops() == 2 * (forward_macs(network) + embedding)
    assert embedding < 0.001 * forward_macs(network)


def module(kind: type[RINDiffusion], network: DiT, **options: Any) -> RINDiffusion:
    goal = {"schedule": Rectified(), "objective": X0(), "self_conditioning": 0.0}
    return kind(network, **goal | options)


def test_the_module_of_rin_trains_it_on_pictures() -> None:
    images = torch.zeros(16, 3, 8, 8, dtype=torch.uint8)
    images[::2] = 255  # black and white ones
    learner = module(RINDiffusion, small(num_classes=0))
    optimizer = torch.optim.Adam(learner.network.parameters(), 3e-3)
    losses = []
    for step in range(120):
        loss = learner.losses({"image": images}, torch.Generator().manual_seed(step)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert sum(losses[-10:]) < 0.2 * sum(losses[:10])
    drawn = learner.sample(16, steps=20).float().mean(dim=(1, 2, 3))
    assert ((drawn < 30) | (drawn > 225)).float().mean() > 0.9


def test_the_module_of_videos_trains_it_on_clips() -> None:
    """Clips whose colour is that of the given frame: it can only be known from the context."""
    colours = torch.randint(256, (8, 1, 3, 1, 1), generator=torch.Generator().manual_seed(0))
    clips = colours.expand(-1, 4, -1, 8, 8).to(torch.uint8)
    learner = module(RINVideoDiffusion, small(num_classes=0, frames=4, temporal_patch=2, context_frames=2))
    optimizer = torch.optim.Adam(learner.network.parameters(), 5e-3)
    for step in range(150):
        loss = learner.losses({"video": clips}, torch.Generator().manual_seed(step)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    drawn = learner.predict_video(clips[:, :2], steps=10)
    error = (drawn.float() - clips[:, 2:].float()).abs().mean()
    swapped = (drawn.float() - clips[:, 2:].roll(1, 0).float()).abs().mean()
    assert error < 0.3 * swapped


def test_by_name_with_options_of_its_own() -> None:
    learner = RINDiffusion("dit_emoji32", network_options={"depth": 1, "width": 48}, self_conditioning=0.0)
    assert isinstance(learner.network, DiT)
    with pytest.raises(InputError, match=r"no option 'dept'.*depth"):
        RINDiffusion("dit_emoji32", network_options={"dept": 1})
    with pytest.raises(InputError, match=r"unknown network 'dit_emoji'.*dit_emoji32"):
        RINDiffusion("dit_emoji")


def test_what_does_not_fit() -> None:
    with pytest.raises(InputError, match="width=12 is not a multiple of 8"):
        small(width=12)
    with pytest.raises(InputError, match="heads=3 does not divide width=16"):
        small(heads=3)
    with pytest.raises(InputError, match="has no latents"):
        small()(torch.randn(1, 3, 8, 8), torch.rand(1), latents=torch.zeros(1, 2, 3))
    images = {"image": torch.zeros(1, 3, 8, 8, dtype=torch.uint8)}
    with pytest.raises(InputError, match="set self_conditioning to 0"):
        RINDiffusion(small(num_classes=0)).losses(images, None)
    with pytest.raises(InputError, match="x has shape"):
        small()(torch.randn(1, 3, 16, 16), torch.rand(1))
