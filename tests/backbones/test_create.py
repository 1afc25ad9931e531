"""Any timm model as a map of features: layers, strides without dilation, weights."""

from pathlib import Path
from urllib.error import URLError

import pytest
import timm
import torch
from torch import Tensor, nn

from lightning_binding.backbones import create_backbone
from lightning_binding.errors import InputError


def features(name: str, size: tuple[int, int] = (64, 96), **options: object) -> Tensor:
    backbone = create_backbone(name, **options).eval()  # type: ignore[arg-type]
    with torch.no_grad():
        found = backbone(torch.randn(1, 3, *size))
    assert found.shape[1] == backbone.channels
    assert found.shape[2] * backbone.stride == size[0]
    return found


@pytest.mark.parametrize(
    ("name", "options", "shape"),
    [
        ("resnet18", {"layer": "layer3", "stride": 8}, (256, 8, 12)),
        ("resnet18", {"layer": "layer4", "stride": 8}, (512, 8, 12)),
        ("resnet18", {"layer": "layer2"}, (128, 8, 12)),
        ("resnet18", {"layer": "layer3", "stride": 4}, (256, 16, 24)),
        ("resnet50", {"layer": 3, "stride": 8}, (1024, 8, 12)),
        ("resnet18d", {"stride": 8}, (512, 8, 12)),
        ("convnext_atto", {"stride": 8}, (320, 8, 12)),
        ("efficientnet_b0", {"layer": "blocks.2", "stride": 4}, (40, 16, 24)),
        ("vit_tiny_patch16_224", {}, (192, 4, 6)),
        ("vit_tiny_patch16_224", {"layer": "blocks.3"}, (192, 4, 6)),
        ("vit_small_patch16_dinov3", {"layer": 2}, (384, 4, 6)),
        ("emoji_resnet", {}, (128, 2, 3)),
    ],
)
def test_features_have_the_asked_stride(name: str, options: dict[str, object], shape: tuple[int, ...]) -> None:
    assert features(name, **options).shape[1:] == shape


@pytest.mark.parametrize("name", ["resnet18", "vit_tiny_patch16_224"])
def test_the_layout_in_memory_changes_no_feature(name: str) -> None:
    found = {}
    for channels_last in (True, False):
        torch.manual_seed(0)
        backbone = create_backbone(name, channels_last=channels_last)
        features = backbone(torch.randn(4, 3, 64, 64, generator=torch.Generator().manual_seed(1)))
        features.square().mean().backward()
        found[channels_last] = [features, *(parameter.grad for parameter in backbone.parameters())]
    for one, other in zip(found[True], found[False], strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-5)
    if name == "resnet18":
        assert found[True][0].is_contiguous(memory_format=torch.channels_last)
        assert not found[False][0].is_contiguous(memory_format=torch.channels_last)


def test_dinov2_takes_any_multiple_of_its_patch() -> None:
    assert features("vit_small_patch14_dinov2", (70, 98), layer="blocks.1").shape[1:] == (384, 5, 7)


def test_the_encoder_of_the_original_code() -> None:
    trained = create_backbone("resnet18", layer="layer4", stride=8, padding="reflect")
    assert sum(parameter.numel() for parameter in trained.parameters()) + 512 * 128 + 128 == 11_242_176
    tested = create_backbone("resnet18", layer="layer3", stride=8, padding="reflect")
    assert sum(parameter.numel() for parameter in tested.parameters()) == 2_782_784
    with torch.no_grad():
        assert tested.eval()(torch.zeros(1, 3, 480, 854)).shape == (1, 256, 60, 107)
    for module in trained.modules():
        if isinstance(module, nn.Conv2d):
            assert module.dilation == (1, 1)
            assert module.padding_mode == ("reflect" if max(module.kernel_size) > 1 else "zeros")
    assert {name for name in trained.state_dict() if "layer4.0.conv1" in name} == {"network.layer4.0.conv1.weight"}


def test_without_its_strides_a_convolution_computes_what_lies_between() -> None:
    torch.manual_seed(0)
    own = create_backbone("resnet18", layer="layer3").eval()
    fine = create_backbone("resnet18", layer="layer3", stride=8).eval()
    fine.load_state_dict(own.state_dict())
    images = torch.randn(1, 3, 64, 64)
    # Up to the first stride that was taken out, every second value is the coarse one.
    convolution = lambda model, x: model.network.layer3[0].conv1(x)  # noqa: E731
    with torch.no_grad():
        before = own.network.forward_intermediates(images, indices=[2], intermediates_only=True)[0]
        torch.testing.assert_close(convolution(fine, before)[..., ::2, ::2], convolution(own, before))


def test_features_are_those_of_the_whole_model() -> None:
    torch.manual_seed(0)
    whole = timm.create_model("resnet18", num_classes=0).eval()
    cut = create_backbone("resnet18", layer="layer3").eval()
    cut.network.load_state_dict(whole.state_dict(), strict=False)
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        expected = whole.forward_intermediates(images, indices=[3], intermediates_only=True)[0]
        torch.testing.assert_close(cut(images), expected)
        earlier = whole.forward_intermediates(images, indices=[1], intermediates_only=True)[0]
        torch.testing.assert_close(cut(images, cut.layer_index("layer1")), earlier)


@pytest.mark.parametrize("name", ["resnet18", "vit_tiny_patch16_224"])
def test_weights_come_from_a_file(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    whole = timm.create_model(name)
    path = tmp_path / "weights.pth"
    torch.save(whole.state_dict(), path)
    torch.manual_seed(1)
    loaded = create_backbone(name, weights=path)
    for key, value in loaded.network.state_dict().items():
        torch.testing.assert_close(value, whole.state_dict()[key])


def test_every_parameter_is_trained() -> None:  # DDP waits for the gradient of each
    for name in ("resnet18", "vit_tiny_patch16_224", "convnext_atto"):
        backbone = create_backbone(name, layer=1)
        backbone(torch.randn(2, 3, 64, 64)).sum().backward()
        without = [key for key, value in backbone.named_parameters() if value.requires_grad and value.grad is None]
        assert without == [], name


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("resnet81", {}, "timm has no model 'resnet81'; did you mean"),
        ("resnet18", {"layer": "layer5"}, "has no layer 'layer5'; it has act1, layer1, layer2, layer3, layer4"),
        ("resnet18", {"layer": 7}, "has no layer 7"),
        ("vit_tiny_patch16_224", {"stride": 8}, "gives features of stride 16 at blocks.11, not 8"),
        ("resnet18", {"layer": "layer1", "stride": 8}, "gives features of stride 4 at layer1, not 8"),
        ("resnet18", {"weights": "/nowhere.pth"}, "there is no file /nowhere.pth"),
    ],
)
def test_bad_input_is_explained(name: str, options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        create_backbone(name, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "error", [URLError("no name"), ConnectionError("no name"), FileNotFoundError("no name.\nAt all")]
)
def test_weights_that_cannot_be_downloaded_are_explained(error: OSError, monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*args: object, **options: object) -> None:
        raise error

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(
        InputError, match=r"the weights of timm's resnet18 are not in .*no name.*\): without internet, give"
    ):
        create_backbone("resnet18", pretrained=True)
    with pytest.raises(type(error)):  # nothing was to be downloaded: it is another fault
        create_backbone("resnet18")


def test_weights_of_another_model_are_refused(tmp_path: Path) -> None:
    torch.save(timm.create_model("vit_tiny_patch16_224").state_dict(), tmp_path / "vit.pth")
    with pytest.raises(InputError, match="does not hold weights of timm's resnet18"):
        create_backbone("resnet18", weights=tmp_path / "vit.pth")
