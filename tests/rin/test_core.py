"""The core: a RIN of images goes on with video."""

from pathlib import Path

import pytest
import torch

from lightning_binding import InputError
from lightning_binding.rin.core import core, load_core
from lightning_binding.rin.module import RINDiffusion
from lightning_binding.rin.network import RIN
from lightning_binding.rin.video import RINVideoDiffusion

SIZES = {"image_size": 8, "patch_size": 4, "interface_dim": 16, "latent_dim": 16, "latent_heads": 2, "cross_heads": 2}


def image(**options: object) -> RIN:
    torch.manual_seed(0)
    return RIN(**SIZES, latents=6, blocks=(1, 1), num_classes=3, **options)  # type: ignore[arg-type]


def video(**options: object) -> RIN:
    torch.manual_seed(1)
    return RIN(
        **SIZES | {"latents": 6, "blocks": (1, 1), "frames": 5, "temporal_patch": 2, "context_frames": 1} | options
    )  # type: ignore[arg-type]


def saved(network: RIN, path: Path) -> Path:
    torch.save({"state_dict": {f"network.{name}": value for name, value in network.state_dict().items()}}, path)
    return path


def test_image_and_video_have_the_same_core() -> None:
    assert core(image().state_dict()).keys() == core(video().state_dict()).keys()
    outside = set(image().state_dict()) - set(core(image().state_dict()))
    assert outside == {
        "stem.weight", "stem.bias", "readout.weight", "readout.bias",
        "interface_position", "class_token.weight", "class_token.bias",
    }  # fmt: skip


def test_the_core_of_an_image_model_is_loaded_into_a_video_model(tmp_path: Path) -> None:
    source, target = image(), video()
    before = {name: value.clone() for name, value in target.state_dict().items()}
    load_core(target, saved(source, tmp_path / "image.ckpt"))
    for name, value in target.state_dict().items():
        if name == "latent_position":  # the class token has become a learned latent
            assert torch.equal(value[:4], source.latent_position)
            assert torch.equal(value[4:], before[name][4:])
        elif name in core(before):
            assert torch.equal(value, source.state_dict()[name]), name
        else:
            assert torch.equal(value, before[name]), name


def test_the_way_back_from_video_to_images(tmp_path: Path) -> None:
    source, target = video(), image()
    load_core(target, saved(source, tmp_path / "video.ckpt"))
    assert torch.equal(target.latent_position, source.latent_position[:4])
    assert torch.equal(target.blocks[1].read.attention.query.weight, source.blocks[1].read.attention.query.weight)


def test_a_run_starts_from_the_core_of_another(tmp_path: Path) -> None:
    path = saved(image(), tmp_path / "image.ckpt")
    module = RINVideoDiffusion(video(), core_from=str(path))
    assert isinstance(module, RINDiffusion)
    module.setup("fit")
    assert torch.equal(
        module.network.blocks[0].read.attention.query.weight, image().blocks[0].read.attention.query.weight
    )  # type: ignore[union-attr, index]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"latents": 9}, r"learned latents of shape \(4, 16\), the network \(8, 16\)"),
        ({"blocks": (1, 1, 1)}, "lacks blocks.2"),
        ({"interface_dim": 32}, "has stem_norm.weight of shape"),
    ],
)
def test_another_core_does_not_fit(options: dict[str, object], message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        load_core(video(**options), saved(image(), tmp_path / "image.ckpt"))
