"""The presets as entries of timm's registry."""

from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file

from lightning_binding import InputError
from lightning_binding.pretrained import load_pretrained, shipped
from lightning_binding.rin.network import RIN
from lightning_binding.rin.presets import PRESETS


def test_every_row_is_registered_and_can_be_built() -> None:
    assert set(timm.list_models("rin_*")) == set(PRESETS)
    for name in PRESETS:
        with torch.device("meta"):
            network = timm.create_model(name)
        assert isinstance(network, RIN)
        assert network.image_size == PRESETS[name]["image_size"]


def test_options_override_the_row() -> None:
    network = timm.create_model("rin_tiny", num_classes=0, in_channels=1, latents=9)
    assert (network.num_classes, network.in_channels, network.num_latents) == (0, 1, 9)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image_size": "wide"}, "rin_tiny: image_size='wide' must be a whole number"),
        ({"latents": 8.5}, "rin_tiny: latents=8.5 must be a whole number"),
        ({"latents": True}, "rin_tiny: latents=True must be a whole number"),
        ({"dropout": "some"}, "rin_tiny: dropout='some' must be a number"),
        ({"blocks": 3}, "rin_tiny: blocks=3 must be a list of whole numbers"),
        ({"blocks": [1, 1.5]}, r"rin_tiny: blocks=\[1, 1.5\] must be a list of whole numbers"),
        ({"sinusoidal_init": 1}, "rin_tiny: sinusoidal_init=1 must be true or false"),
    ],
)
def test_options_of_another_type(options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        timm.create_model("rin_tiny", **options)


def test_weights_by_path_and_shipped_ones(tmp_path: Path) -> None:
    network = timm.create_model("rin_tiny")
    save_file(network.state_dict(), tmp_path / "mine.safetensors")
    loaded = timm.create_model("rin_tiny", checkpoint_path=str(tmp_path / "mine.safetensors"))
    for name, value in network.state_dict().items():
        assert torch.equal(value, loaded.state_dict()[name])

    shipped_network = timm.create_model("rin_emoji32", pretrained=True)
    module = load_pretrained("rin_emoji32")
    for name, value in module.trained().state_dict().items():
        assert torch.equal(value, shipped_network.state_dict()[name])


def test_what_does_not_ship() -> None:
    assert "rin_emoji32" in shipped()
    with pytest.raises(InputError, match=r"rin_cifar10 comes without weights.*rin_emoji32"):
        timm.create_model("rin_cifar10", pretrained=True)
    with pytest.raises(InputError, match=r"no model 'rin_emoji'.*did you mean rin_emoji32"):
        load_pretrained("rin_emoji")


@torch.no_grad()
def test_the_shipped_model_denoises_held_out_emoji_far_better_than_an_untrained_one() -> None:
    from lightning_binding.data import EmojiDataModule

    batch = next(iter(EmojiDataModule(skin_tones=False, eval_batch_size=64).val_dataloader()))
    losses = []
    for pretrained in (True, False):
        module = load_pretrained("rin_emoji32")
        if not pretrained:
            module.network = timm.create_model("rin_emoji32").eval()
        losses.append(float(module.losses(batch, torch.Generator().manual_seed(0)).mean()))  # type: ignore[operator]
    assert losses[0] < 0.2 * losses[1]
