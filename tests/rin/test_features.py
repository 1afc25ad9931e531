"""A RIN under the name of a backbone: its own tokens and attention, at any size, in label propagation."""

from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor

from lightning_binding import InputError
from lightning_binding.backbones import create_backbone
from lightning_binding.crw.module import ContrastiveRandomWalk
from lightning_binding.data import MovingSpritesDataModule
from lightning_binding.metrics import JaccardBoundary
from lightning_binding.rin.attention import record_attention
from lightning_binding.rin.features import RINFeatures
from lightning_binding.rin.network import RIN
from lightning_binding.rin.objectives import add_noise

GAMMA = torch.full((2,), 0.7)


def network(**options: int) -> RIN:
    """A small network whose every weight counts."""
    made = RIN(**{"image_size": 8, "patch_size": 2, "interface_dim": 16, "latents": 6, "latent_dim": 16} | options)  # type: ignore[arg-type]
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape))
    return made.eval()


def maps(features: RINFeatures, images: Tensor, layer: str, norm: bool = False) -> Tensor:
    index = [each["module"] for each in features.feature_info].index(layer)
    with torch.no_grad():
        return features.forward_intermediates(images, indices=[index], norm=norm)[0]


def noisy(images: Tensor, seed: int = 0) -> Tensor:
    """Pictures with the noise that features see them with."""
    eps = torch.randn(1, *images.shape[1:], generator=torch.Generator().manual_seed(seed))
    return add_noise(images, eps.expand_as(images), GAMMA)


def test_tokens_are_those_of_the_network() -> None:
    rin, images = network(), torch.rand(2, 3, 8, 8) * 2 - 1
    features = RINFeatures(rin, gamma=0.7)
    with torch.no_grad():
        first = rin(noisy(images), GAMMA)
        second = rin(noisy(images), GAMMA, latents=first.latents)
    assert first.interface is not None
    assert second.interface is not None
    tokens = first.interface.transpose(1, 2).view(2, 16, 4, 4)
    torch.testing.assert_close(maps(features, images, "blocks.2"), tokens)
    normed = rin.readout_norm(first.interface).transpose(1, 2).view(2, 16, 4, 4)
    torch.testing.assert_close(maps(features, images, "blocks.2", norm=True), normed)
    twice = maps(RINFeatures(rin, gamma=0.7, passes=2), images, "blocks.2")
    torch.testing.assert_close(twice, second.interface.transpose(1, 2).view(2, 16, 4, 4))
    assert (twice - tokens).abs().max() > 1e-3


def test_without_noise_and_with_another_seed() -> None:
    rin, images = network(), torch.rand(2, 3, 8, 8) * 2 - 1
    with torch.no_grad():
        clean = rin(0.7**0.5 * images, GAMMA).interface
        other = rin(noisy(images, seed=5), GAMMA).interface
    for features, tokens in ((RINFeatures(rin, 0.7, noise=False), clean), (RINFeatures(rin, 0.7, seed=5), other)):
        assert tokens is not None
        torch.testing.assert_close(
            maps(features, images, "blocks.2"), tokens.transpose(1, 2).reshape(2, 16, 4, 4), msg=str(features)
        )


@pytest.mark.parametrize("block", [0, 1, 2])
def test_rows_of_the_write_attention(block: int) -> None:
    rin, images = network(), torch.rand(2, 3, 8, 8) * 2 - 1
    with torch.no_grad(), record_attention(rin) as recorded:
        rin(images, torch.ones(2))
    expected = recorded.write[0][block].mean(dim=1).transpose(1, 2).view(2, 6, 4, 4)
    found = maps(RINFeatures(rin), images, f"write.{block}")
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(found.sum(dim=1), torch.ones(2, 4, 4))
    assert all(each.write.attention.recorded is None for each in rin.blocks)


def test_a_clip_that_stands_still_for_the_network_of_a_video() -> None:
    rin, images = network(frames=6, temporal_patch=2, context_frames=2), torch.rand(2, 3, 8, 8) * 2 - 1
    clip = images[:, None].expand(-1, 6, -1, -1, -1)
    with torch.no_grad():
        interface = rin(clip[:, 2:], torch.ones(2), context=clip[:, :2]).interface
    assert interface is not None
    tokens = interface[:, :16].transpose(1, 2).reshape(2, 16, 4, 4)
    torch.testing.assert_close(maps(RINFeatures(rin), images, "blocks.2"), tokens)


def test_larger_pictures_have_resampled_positions() -> None:
    rin, tile = network(), torch.rand(1, 3, 8, 8) * 2 - 1
    rin.interface_position.data = rin.interface_position.data[:1].expand(16, -1).clone()  # every place is the same one
    features = RINFeatures(rin)
    small, large = maps(features, tile, "blocks.2"), maps(features, tile.tile(1, 1, 2, 3), "blocks.2")
    torch.testing.assert_close(large, small.tile(1, 1, 2, 3), atol=1e-5, rtol=1e-5)
    ramp = torch.arange(4.0).view(4, 1, 1).expand(4, 4, 16).reshape(16, 16)
    rin.interface_position.data = ramp.clone()
    resampled = features._positions([8, 4]).view(8, 4, 16)
    torch.testing.assert_close(resampled[2:6, 1, 0], torch.tensor([0.75, 1.25, 1.75, 2.25]), atol=0.1, rtol=0)


def test_by_name_up_to_a_layer() -> None:
    whole = create_backbone("rin_emoji32", pretrained=True).eval()
    assert whole.layers == [f"{kind}.{block}" for block in range(4) for kind in ("write", "blocks")]
    assert (whole.channels, whole.stride, whole.multiple) == (128, 4, 4)
    part = create_backbone("rin_emoji32", pretrained=True, layer="write.1").eval()
    assert (part.channels, len(part.network.network.blocks)) == (32, 2)
    images = torch.rand(2, 3, 32, 48) * 2 - 1
    with torch.no_grad():
        torch.testing.assert_close(part(images), whole(images, whole.layer_index("write.1")))
        assert part(images).shape == (2, 32, 8, 12)


def test_weights_from_a_file(tmp_path: Path) -> None:
    options = {"image_size": 8, "patch_size": 2, "interface_dim": 16, "latent_dim": 32, "latents": 6}
    made = timm.create_model("rin_tiny", **options)
    save_file(made.state_dict(), tmp_path / "tiny.safetensors")
    backbone = create_backbone("rin_tiny", weights=tmp_path / "tiny.safetensors", gamma=0.5, **options)
    for name, value in made.blocks.state_dict().items():
        assert torch.equal(backbone.network.network.blocks.state_dict()[name], value)
    assert backbone.network.gamma == 0.5
    with pytest.raises(InputError, match="does not fit the network"):
        create_backbone("rin_tiny", weights=tmp_path / "tiny.safetensors")


def test_assignments_to_the_latents_of_a_trained_network_carry_masks_where_those_of_an_untrained_one_do_not() -> None:
    """Under a light that swings, so that it takes more than the pixels."""
    data = MovingSpritesDataModule(64, eval_sequences=3, eval_frames=12, lighting=0.5, noise=8.0).eval_set()
    scores = {}
    for pretrained in (True, False):
        module = ContrastiveRandomWalk(
            "rin_emoji32", pretrained=pretrained, layer="write.2", stride=None, head_depth=-1
        )
        metric = JaccardBoundary()
        for sequence in data:  # type: ignore[attr-defined]
            metric.update(module.predict_step(sequence, 0)["mask"], sequence["mask"], sequence["name"])
        scores[pretrained] = float(metric.compute()["J&F-Mean"])
    assert scores[True] > scores[False] + 0.1


def test_what_makes_no_sense() -> None:
    with pytest.raises(InputError, match="gamma=2 must lie"):
        create_backbone("rin_tiny", gamma=2)
    with pytest.raises(InputError, match="passes=0"):
        create_backbone("rin_tiny", passes=0)
    with pytest.raises(InputError, match=r"no layer 'block\.0'; it has write\.0, blocks\.0"):
        create_backbone("rin_tiny", layer="block.0")
