"""Extractors: pictures to features, named, and clear about missing weights."""

from pathlib import Path

import pytest
import timm
import torch
from inception import random_weights
from safetensors.torch import save_file
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

from lightning_binding import InputError
from lightning_binding.metrics import Inception, TimmExtractor
from lightning_binding.metrics.extractors import INCEPTION_FILE


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights in the layout of the Inception file."""
    return random_weights(tmp_path_factory.mktemp("inception"))


def test_inception_is_torch_fidelity_s(weights: Path) -> None:
    images = torch.randint(256, (2, 3, 32, 32), dtype=torch.uint8)
    ours = Inception(str(weights))
    theirs = FeatureExtractorInceptionV3(
        "inception-v3-compat", ["2048", "logits_unbiased"], feature_extractor_weights_path=str(weights)
    )
    features, logits = ours.features_and_logits(images)
    expected = theirs(images)
    assert torch.equal(features, expected[0])
    assert torch.equal(logits, expected[1])
    assert ours.name is None
    assert not ours.train().network.training


def test_timm_extractor_is_the_model_on_its_own_input() -> None:
    extractor = TimmExtractor("emoji_resnet")
    images = torch.randint(256, (4, 3, 32, 32), dtype=torch.uint8)
    network = timm.create_model("emoji_resnet", pretrained=True).eval()
    features, logits = extractor.features_and_logits(images)
    with torch.no_grad():
        assert torch.allclose(logits, network(images / 127.5 - 1), atol=1e-5)
        maps = network.forward_features(images / 127.5 - 1)
    assert torch.allclose(features, maps.mean(dim=(2, 3)), atol=1e-5)
    assert extractor.name == "emoji_resnet"
    assert extractor(torch.randint(256, (2, 3, 20, 50), dtype=torch.uint8)).shape == (2, 128)  # resized


def test_weights_by_path_change_the_protocol(tmp_path: Path) -> None:
    save_file(timm.create_model("emoji_resnet").state_dict(), tmp_path / "mine.safetensors")
    mine = TimmExtractor("emoji_resnet", str(tmp_path / "mine.safetensors"))
    assert mine.protocol != TimmExtractor("emoji_resnet").protocol
    assert mine.protocol == TimmExtractor("emoji_resnet", str(tmp_path / "mine.safetensors")).protocol
    save_file(timm.create_model("emoji_resnet").state_dict(), tmp_path / "mine.safetensors")  # other ones, in its place
    assert mine.protocol != TimmExtractor("emoji_resnet", str(tmp_path / "mine.safetensors")).protocol


def test_weights_of_another_model(tmp_path: Path) -> None:
    save_file({"conv.weight": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(InputError, match=r"other.safetensors does not hold weights of emoji_resnet"):
        TimmExtractor("emoji_resnet", str(tmp_path / "other.safetensors"))
    for content in (b"no weights", b""):
        (tmp_path / "other.pth").write_bytes(content)
        with pytest.raises(InputError, match=r"other.pth does not hold the weights of Inception"):
            Inception(str(tmp_path / "other.pth"))


def test_the_name_tells_pretrained_weights_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    create = timm.create_model
    monkeypatch.setattr(timm, "create_model", lambda name, **options: create(name, num_classes=3))
    names = [TimmExtractor(f"resnet18.{tag}").name for tag in ("a1_in1k", "tv_in1k")]
    assert names == ["resnet18_a1_in1k", "resnet18_tv_in1k"]  # a dot would be an attribute in a checkpoint's filename


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Inception("nowhere.pth"), rf"no file nowhere.pth.*{INCEPTION_FILE}"),
        (lambda: TimmExtractor("emoji_resnett"), "no timm model.*emoji_resnet"),
        (lambda: TimmExtractor("emoji_resnet", "nowhere.pth"), "checkpoint_path: there is no file"),
    ],
)
def test_missing_weights(build, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(InputError, match=message):
        build()


def test_pictures_of_another_kind() -> None:
    for images in (torch.zeros(2, 3, 8, 8), torch.zeros(2, 1, 8, 8, dtype=torch.uint8)):
        with pytest.raises(InputError, match=r"expected uint8 \(N, 3, H, W\)"):
            TimmExtractor()(images)
