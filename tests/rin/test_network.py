"""The network: counts in closed form, equivariances, and the identities that hold at initialisation."""

import pytest
import timm
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from lightning_binding import InputError
from lightning_binding.rin import cost
from lightning_binding.rin.layers import FeedForward, ScalarEmbedding
from lightning_binding.rin.network import RIN
from lightning_binding.rin.tokens import Patches


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def tiny(**options: object) -> RIN:
    torch.manual_seed(0)
    return timm.create_model("rin_tiny", **options).eval()  # type: ignore[no-any-return]


def batch(size: int = 3) -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(1)
    return torch.randn(size, 3, 8, 8), torch.rand(size), torch.randint(3, (size,))


@pytest.mark.parametrize(
    ("preset", "options", "expected"),
    [
        ("rin_cifar10", {}, 30_951_180),
        ("rin_imagenet64_released", {}, 157_780_160),
        ("rin_imagenet64_released", {"blocks": [6] * 4}, 214_483_136),
        ("rin_64", {}, 214_483_136),
        ("rin_128", {}, 214_581_440),
        ("rin_256", {}, 319_033_536),
        ("rin_512", {}, 320_606_400),
        ("rin_768", {}, 408_282_304),
        ("rin_1024", {}, 411_952_320),
        ("rin_imagenet64", {}, 253_447_472),
        ("rin_imagenet64", {"interface_dim": 512}, 267_186_736),
        ("rin_imagenet128", {}, 395_649_584),
        ("rin_imagenet256", {}, 395_928_256),
        ("rin_tiny", {}, 61_948),
    ],
)
def test_parameters_of_the_original(preset: str, options: dict[str, object], expected: int) -> None:
    with torch.device("meta"):
        network = timm.create_model(preset, **options)
    assert count(network) == cost.parameters(network) == expected


def test_parameters_of_the_video_model() -> None:
    options = {"image_size": 64, "patch_size": 4, "frames": 16, "temporal_patch": 2, "context_frames": 5}
    with torch.device("meta"):
        network = timm.create_model("rin_imagenet256", num_classes=0, **options)
        x, context = torch.empty(1, 11, 3, 64, 64), torch.empty(1, 5, 3, 64, 64)
        output = network(x, torch.empty(1), None, None, context)
    assert network.interface_position.shape[0] == 2304
    assert count(network) == cost.parameters(network) == 395_461_216
    assert output.prediction.shape == (1, 11, 3, 64, 64)


def test_breakdown_of_cifar10() -> None:
    with torch.device("meta"):
        network = timm.create_model("rin_cifar10")
    assert count(network.time_token) == 328_704
    assert count(network.class_token) == 5_632
    assert count(network.previous) + count(network.previous_norm) == pytest.approx(2.10e6, rel=5e-3)
    for part, millions in {"read": 7.49, "write": 1.98, "compute": 18.91}.items():
        assert sum(count(getattr(block, part)) for block in network.blocks) / 1e6 == pytest.approx(millions, abs=0.01)


@pytest.mark.parametrize(
    ("preset", "giga"),
    [
        ("rin_cifar10", 4.30),
        ("rin_imagenet64_released", 19.61),
        ("rin_64", 27.06),
        ("rin_128", 29.71),
        ("rin_256", 102.48),
    ],
)
def test_multiply_accumulates(preset: str, giga: float) -> None:
    with torch.device("meta"):
        network = timm.create_model(preset)
    assert cost.forward_macs(network) / 1e9 == pytest.approx(giga, abs=0.006)


@pytest.mark.parametrize("preset", ["rin_tiny", "rin_imagenet128", "rin_imagenet256", "rin_512"])
def test_multiply_accumulates_are_those_that_torch_counts(preset: str) -> None:
    with torch.device("meta"):
        network = timm.create_model(preset)
        x, gamma = torch.empty(1, 3, network.image_size, network.image_size), torch.empty(1)
        with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter, torch.no_grad():
            network(x, gamma, torch.empty(1, dtype=torch.long))
    width, classes = network.latent_dim, network.num_classes
    condition = width * width // 4 + width**2 + classes * width  # the time and class tokens, left out by the formula
    assert counter.get_total_flops() == 2 * (cost.forward_macs(network) + condition)


@settings(max_examples=15, deadline=None)
@given(
    grid=st.integers(1, 4),
    patch=st.sampled_from([1, 2, 4]),
    heads=st.sampled_from([1, 2, 4]),
    blocks=st.lists(st.integers(0, 2), min_size=1, max_size=3),
    classes=st.integers(0, 4),
    ratio=st.sampled_from([0, 1, 2.5]),
)
def test_any_sizes_count_as_the_formula_and_keep_shapes(
    grid: int, patch: int, heads: int, blocks: list[int], classes: int, ratio: float
) -> None:
    size = grid * patch
    network = RIN(size, patch, 8, 5, 16, blocks, heads, heads, 4, ratio, classes)
    assert count(network) == cost.parameters(network)
    output = network(torch.randn(2, 3, size, size), torch.rand(2))
    assert output.prediction is not None
    assert output.prediction.shape == (2, 3, size, size)
    assert output.latents.shape == (2, 5, 16)


def test_previous_latents_do_nothing_at_initialisation() -> None:
    network = tiny().train()
    x, gamma, label = batch()
    latents = torch.randn(3, 8, 32, requires_grad=True)
    with_latents, without = network(x, gamma, label, latents), network(x, gamma, label)
    assert torch.equal(with_latents.prediction, without.prediction)
    with_latents.prediction.square().mean().backward()
    assert latents.grad is not None
    assert latents.grad.abs().max() == 0
    assert all(parameter.grad.abs().max() == 0 for parameter in network.previous.parameters())
    assert all(parameter.grad.abs().max() > 0 for parameter in network.previous_norm.parameters())


def test_previous_latents_matter_once_their_norm_has_a_scale() -> None:
    network = tiny()
    x, gamma, label = batch()
    without = network(x, gamma, label)
    nn.init.ones_(network.previous_norm.weight)
    assert torch.equal(network(x, gamma, label).prediction, without.prediction)  # LN(FFN(LN(0))) = 0 with zero biases
    assert (network(x, gamma, label, torch.randn(3, 8, 32)).prediction - without.prediction).abs().max() > 1e-3
    nn.init.normal_(network.previous.contract.bias)  # as after training: LN(FFN(LN(0))) is one vector for all latents
    constant = network.previous_norm(network.previous.contract.bias)
    assert constant.abs().min() > 0
    added = network.condition(gamma, label, None) - tiny().condition(gamma, label, None)
    torch.testing.assert_close(added, constant.expand(3, 8, 32), atol=1e-6, rtol=0)


def test_order_of_learned_latents_does_not_matter() -> None:
    network = tiny()
    x, gamma, label = batch()
    before = network(x, gamma, label).prediction
    network.latent_position.data = network.latent_position.data[torch.randperm(6)]
    assert (network(x, gamma, label).prediction - before).abs().max() < 2e-6


def test_permuted_patches_with_their_positions_permute_the_output() -> None:
    network = tiny()
    x, gamma, label = batch()
    order = torch.randperm(16)
    cut = lambda image: network.patches.to_rows(image[:, None])  # noqa: E731
    before = cut(network(x, gamma, label).prediction)
    network.interface_position.data = network.interface_position.data[order]
    shuffled = network.patches.to_video(cut(x)[:, order], 1, 8, 8)[:, 0]
    assert torch.allclose(cut(network(shuffled, gamma, label).prediction), before[:, order], atol=1e-5)


@pytest.mark.parametrize(
    ("preset", "low", "high"),
    [("rin_tiny", 0.9, 1.2), ("rin_quickstart", 0.9, 1.6), ("rin_emoji32", 0.9, 1.6), ("rin_cifar10", 1.1, 1.6)],
)
def test_output_is_of_order_one_at_initialisation(preset: str, low: float, high: float) -> None:
    torch.manual_seed(0)
    network = timm.create_model(preset).eval()
    size = network.image_size
    with torch.no_grad():
        deviation = network(torch.randn(4, 3, size, size), torch.rand(4)).prediction.std()
    assert low < deviation < high


def test_patch_numbers_are_ordered_row_column_channel() -> None:
    image = torch.zeros(1, 1, 3, 4, 4)
    image[0, 0, 2, 1, 3] = 7  # channel 2 of the pixel at row 1, column 3: patch (0, 1), dy = 1, dx = 1
    patches = Patches(temporal=1, spatial=2, channels=3)
    rows = patches.to_rows(image)
    assert rows[0, 1, (1 * 2 + 1) * 3 + 2] == 7
    assert torch.equal(patches.to_video(rows, 1, 4, 4), image)


@given(frames=st.integers(1, 7), temporal=st.integers(1, 3), grid=st.integers(1, 3))
def test_patches_round_trip(frames: int, temporal: int, grid: int) -> None:
    video = torch.randn(2, frames, 3, 2 * grid, 2 * grid)
    patches = Patches(temporal, 2, 3)
    rows = patches.to_rows(video)
    assert rows.shape == (2, patches.count(frames, 2 * grid, 2 * grid), patches.size)
    if frames % temporal == 0:
        assert torch.equal(patches.to_video(rows, frames, 2 * grid, 2 * grid), video)


def test_sinusoids_of_the_noise_level() -> None:
    embedding = ScalarEmbedding(32)
    code = embedding.positional(torch.tensor([1000.0, 0.0]))
    expected = [0.82688, -0.50637, -0.54402, 0.84147, 0.56238, 0.86232, -0.83907, 0.54030]
    assert torch.allclose(code[0], torch.tensor(expected), atol=2e-5)
    assert torch.equal(code[1], torch.tensor([0.0] * 4 + [1.0] * 4))


def test_the_activation_is_the_exact_gelu() -> None:
    layer = FeedForward(8, 1)
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    nn.init.ones_(layer.expand.bias)
    nn.init.eye_(layer.contract.weight)
    assert torch.allclose(layer(torch.randn(1, 1, 8)), torch.tensor(0.841345), atol=1e-6)


def test_without_writes_every_patch_sees_itself_alone() -> None:
    network = tiny()
    for block in network.blocks:
        nn.init.zeros_(block.write.attention.out.weight)
        nn.init.zeros_(block.write.attention.out.bias)
    x, gamma, label = batch()
    before = network(x, gamma, label).prediction
    assert torch.equal(network(x, 1 - gamma, (label + 1) % 3).prediction, before)
    changed = x.clone()
    changed[:, :, :2, :2] += 1
    difference = (network(changed, gamma, label).prediction - before).abs().amax(dim=1)
    assert difference[:, :2, :2].max() > 0
    difference[:, :2, :2] = 0
    assert difference.max() == 0


def test_the_null_label_is_the_bias_alone() -> None:
    network = tiny()
    x, gamma, _ = batch()
    null = network(x, gamma, None).prediction
    nn.init.zeros_(network.class_token.weight)
    assert torch.equal(network(x, gamma, torch.tensor([0, 1, 2])).prediction, null)


def test_latents_without_readout_are_the_same() -> None:
    network = tiny()
    x, gamma, label = batch()
    full, short = network(x, gamma, label), network(x, gamma, label, readout=False)
    assert torch.equal(full.latents, short.latents)
    assert short.prediction is None
    assert short.interface is None


def test_dropout_and_drop_path_act_in_training_alone() -> None:
    network = tiny(dropout=0.5, drop_path=0.5)
    x, gamma, label = batch()
    assert torch.equal(network(x, gamma, label).prediction, network(x, gamma, label).prediction)
    network.train()
    assert not torch.equal(network(x, gamma, label).prediction, network(x, gamma, label).prediction)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"patch_size": 3}, "patch_size=3 does not divide image_size=8"),
        ({"latent_heads": 5}, "latent_heads=5 does not divide latent_dim=32"),
        ({"cross_heads": 3}, "cross_heads=3 does not divide .*16"),
        ({"latents": 2}, "latents=2 leaves none to learn"),
        ({"latent_dim": 36, "latent_heads": 4}, "latent_dim=36 is not a multiple of 8"),
        ({"frames": 4, "context_frames": 4}, "context_frames=4 of frames=4"),
        ({"blocks": []}, r"blocks=\[\] must hold"),
        ({"blocks": [1, -1]}, r"blocks=\[1, -1\] must hold"),
        ({"dropout": 1.0}, r"dropout=1.0 must be a probability in \[0, 1\)"),
        ({"drop_path": -0.1}, "drop_path=-0.1 must be a probability"),
        ({"latent_mlp_ratio": 0}, "latent_mlp_ratio=0 must be positive"),
        ({"interface_dim": 0}, "interface_dim=0 must be positive"),
    ],
)
def test_sizes_that_do_not_fit(options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        tiny(**options)


def test_inputs_that_do_not_fit() -> None:
    network, (x, gamma, label) = tiny(), batch()
    with pytest.raises(InputError, match=r"x has shape \(3, 3, 9, 9\).*\(3, 8, 8\)"):
        network(torch.randn(3, 3, 9, 9), gamma, label)
    with pytest.raises(InputError, match="in_channels"):
        network(torch.randn(3, 1, 8, 8), gamma, label)
    with pytest.raises(InputError, match=r"labels lie in \[0, 3\].*3 classes"):
        network(x, gamma, torch.tensor([0, 1, 3]))
    with pytest.raises(InputError, match=r"gamma lies in \[-0.5, 2\], expected \[0, 1\]"):
        network(x, torch.tensor([0.1, -0.5, 2.0]), label)
    with pytest.raises(InputError, match="gamma has shape"):
        network(x, gamma[:2], label)
    with pytest.raises(InputError, match="latents have shape"):
        network(x, gamma, label, torch.zeros(3, 7, 32))
    with pytest.raises(InputError, match="context was given"):
        network(x, gamma, label, None, torch.zeros(3, 2, 3, 8, 8))
    with pytest.raises(InputError, match="unconditional"):
        tiny(num_classes=0)(x, gamma, label)


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_recomputed_activations_change_no_gradient(precision: torch.dtype) -> None:
    torch.manual_seed(0)
    layer, x = FeedForward(16, 4), torch.randn(3, 5, 16, requires_grad=True)
    plain = lambda x: layer.contract(nn.functional.gelu(layer.expand(layer.norm(x))))  # noqa: E731
    gradients = []
    for forward in (layer, plain):
        with torch.autocast("cpu", precision, enabled=precision != torch.float32):
            loss = forward(x).float().square().sum()
        gradients.append(torch.autograd.grad(loss, [x, *layer.parameters()]))
    for ours, theirs in zip(*gradients, strict=True):
        assert ours.dtype == theirs.dtype
        tolerance = 1e-5 if precision == torch.float32 else 2e-2
        assert (ours - theirs).norm() <= tolerance * theirs.norm()


def test_a_first_pass_without_gradient_leaves_those_of_the_second_alone() -> None:
    network, (x, gamma, label) = tiny().train(), batch()
    with torch.autocast("cpu", torch.bfloat16):  # a cast cached without gradient must not be used again
        with torch.no_grad():
            latents = network(x, gamma, label, readout=False).latents
        network(x, gamma, label, latents).prediction.float().square().sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


@pytest.mark.parametrize(("frames", "context", "axes"), [(1, 0, 2), (4, 2, 3)])
def test_sinusoidal_positions_tell_every_patch_from_its_neighbours(frames: int, context: int, axes: int) -> None:
    network = RIN(8, 2, 24, 8, 16, [1], 2, 2, frames=frames, context_frames=context, sinusoidal_init=True)
    rows = network.interface_position.detach()
    assert rows.abs().max() <= 1
    noisy = rows[: network.noisy_tokens]
    # Sines and cosines of one angle: every row has the length of its number of angles, and products of rows depend on
    # the difference of their coordinates alone.
    angles = 24 // (2 * axes) * axes
    torch.testing.assert_close(noisy.square().sum(1), torch.full((len(noisy),), float(angles)))
    product = noisy @ noisy.T
    assert (product.fill_diagonal_(0).max() < angles - 0.1).item()
    grid = product[:16, :16].reshape(4, 4, 4, 4)
    torch.testing.assert_close(grid[0, 0, 0, 1], grid[2, 1, 2, 2])
    torch.testing.assert_close(grid[0, 1, 1, 1], grid[2, 1, 3, 1])
