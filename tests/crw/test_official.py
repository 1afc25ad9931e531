"""Checkpoints of the original code: both spellings, the same outputs as its network, and what does not fit."""

import math
from argparse import Namespace
from functools import cache
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models import resnet18

from lightning_binding.crw.module import ContrastiveRandomWalk
from lightning_binding.crw.official import ARGUMENTS, load_official, official_state_dict, renamed
from lightning_binding.crw.walk import palindrome_loss
from lightning_binding.errors import InputError

ROUNDING = {"rtol": 1e-4, "atol": 1e-4}  # another layout in memory sums in another order


class From3D(nn.Module):
    """Where the original code keeps its network, `encoder.model`."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model


class Original(nn.Module):
    """The network of the original code, from its description: no stride in the last layers, reflected borders."""

    def __init__(self, depth: int = 0) -> None:
        super().__init__()
        network = resnet18()
        for layer in (network.layer3, network.layer4):
            for module in layer.modules():
                if isinstance(module, nn.Conv2d):
                    module.stride = (1, 1)
        for module in network.modules():
            if isinstance(module, nn.Conv2d) and sum(module.padding) > 0:
                module.padding_mode = "reflect"
            if isinstance(module, nn.BatchNorm2d):
                nn.init.normal_(module.running_mean, std=0.1)
                nn.init.uniform_(module.running_var, 0.5, 1.5)
        network.fc = network.avgpool = None
        self.encoder = From3D(network)
        hidden = [layer for _ in range(depth) for layer in (nn.Linear(512, 512), nn.ReLU())]
        self.selfsim_fc = nn.Sequential(*hidden, nn.Linear(512, 128))
        self.eval()

    @torch.no_grad()
    def layers(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Outputs of layer 3 and 4."""
        network = self.encoder.model
        found = network.maxpool(network.relu(network.bn1(network.conv1(images))))
        third = network.layer3(network.layer2(network.layer1(found)))
        return third, network.layer4(third)


@cache
def wanted() -> dict[str, Tensor]:
    module = ContrastiveRandomWalk(**ARGUMENTS)
    return {name: value for name, value in module.state_dict().items() if name.startswith(("backbone.", "head."))}


def old_spelling(state: dict[str, Tensor]) -> dict[str, Tensor]:
    padded = ("conv1.weight", "conv2.weight")
    return {
        name.replace(".weight", ".1.weight") if name.endswith(padded) and value.shape[-1] > 1 else name: value
        for name, value in state.items()
    }


def written(path: Path, original: Original, prefix: str = "", old: bool = False) -> Path:
    """A checkpoint as the original code writes it, with all that lies beside the weights."""
    state = old_spelling(original.state_dict()) if old else original.state_dict()
    optimizer = torch.optim.Adam(original.parameters())
    scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, [20, 30], 0.3)
    checkpoint = {
        "model": {prefix + name: value for name, value in state.items()},
        "optimizer": optimizer.state_dict(),
        "lr_scheduler": scheduler.state_dict(),
        "epoch": 24,
        "args": Namespace(model_type="scratch", patch_size=[64, 64, 3], temp=0.05, device="cuda", visualize=False),
    }
    torch.save(checkpoint, path)
    return path


@pytest.mark.parametrize(("prefix", "old"), [("", False), ("", True), ("module.", False), ("module.", True)])
def test_the_network_is_that_of_the_original(prefix: str, old: bool, tmp_path: Path) -> None:
    original = Original()
    module = ContrastiveRandomWalk(**ARGUMENTS).eval()
    load_official(module, written(tmp_path / "pretrained.pth", original, prefix, old))
    images = torch.rand(2, 3, 64, 96)
    third, fourth = original.layers(images)
    with torch.no_grad():
        torch.testing.assert_close(module.backbone(images), fourth, **ROUNDING)
        torch.testing.assert_close(module.backbone(images, module.eval_layer), third, **ROUNDING)
        pooled = fourth.mean((2, 3))
        torch.testing.assert_close(module.head(pooled), original.selfsim_fc(pooled))
    assert fourth.shape == (2, 512, 8, 12)
    assert fourth.std() > 0.1  # the comparison is not one of zeros


def test_frames_are_normalised_as_the_original_does_at_test_time(tmp_path: Path) -> None:
    original = Original()
    module = ContrastiveRandomWalk(**ARGUMENTS)
    load_official(module, written(tmp_path / "pretrained.pth", original))
    frames = torch.randint(256, (1, 3, 40, 48), dtype=torch.uint8)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    expected = original.layers((frames / 255 - mean[:, None, None]) / std[:, None, None])[0]
    torch.testing.assert_close(module.encode(frames), expected, **ROUNDING)


def test_the_layers_that_propagation_needs_are_enough(tmp_path: Path) -> None:
    original = Original()
    module = ContrastiveRandomWalk(**{**ARGUMENTS, "layer": "layer3"}, head_depth=-1).eval()
    load_official(module, written(tmp_path / "pretrained.pth", original, old=True))
    images = torch.rand(1, 3, 32, 40)
    with torch.no_grad():
        torch.testing.assert_close(module.backbone(images), original.layers(images)[0], **ROUNDING)


def test_a_deeper_head(tmp_path: Path) -> None:
    original = Original(depth=2)
    module = ContrastiveRandomWalk(**ARGUMENTS, head_depth=2)
    load_official(module, written(tmp_path / "pretrained.pth", original))
    nodes = torch.rand(5, 512)
    torch.testing.assert_close(module.head(nodes), original.selfsim_fc(nodes))


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("encoder.model.conv1.weight", "backbone.network.conv1.weight"),
        ("encoder.model.conv1.1.weight", "backbone.network.conv1.weight"),
        ("module.encoder.model.layer1.0.conv2.1.weight", "backbone.network.layer1.0.conv2.weight"),
        ("encoder.model.layer3.0.downsample.1.weight", "backbone.network.layer3.0.downsample.1.weight"),
        ("encoder.model.bn1.num_batches_tracked", "backbone.network.bn1.num_batches_tracked"),
        ("module.selfsim_fc.0.bias", "head.0.bias"),
        ("xent.weight", "xent.weight"),
    ],
)
def test_names(theirs: str, ours: str) -> None:
    assert renamed(theirs) == ours


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("encoder.model.layer4.1.bn2.bias"), r"it lacks backbone\.network\.layer4\.1\.bn2\.bi"),
        (lambda state: state.update({"encoder.model.layer2.0.conv9.weight": torch.ones(1)}), "did you mean backbone"),
        (lambda state: state.update({"selfsim_fc.0.weight": torch.ones(64, 512)}), r"\(64, 512\), expected \(128, 512"),
        (lambda state: state.clear(), "it lacks backbone.network.conv1.weight and"),
        (lambda state: state.pop("selfsim_fc.0.bias"), "it lacks head.0.bias and 0 more"),
    ],
)
def test_what_does_not_fit_is_explained(change: object, message: str) -> None:
    state = Original().state_dict()
    change(state)  # type: ignore[operator]
    with pytest.raises(InputError, match=message):
        official_state_dict(state, wanted())


def test_a_head_that_is_not_used_any_more_is_looked_over() -> None:
    extra = {"selfsim_head.0.weight": torch.ones(2, 2), "encoder.model.fc.weight": torch.ones(1000, 512)}
    assert set(official_state_dict(Original().state_dict() | extra, wanted())) == set(wanted())


def test_files_that_are_no_checkpoint(tmp_path: Path) -> None:
    module = ContrastiveRandomWalk(**ARGUMENTS)
    with pytest.raises(InputError, match="there is no file"):
        load_official(module, tmp_path / "none.pth")
    (tmp_path / "damaged.pth").write_bytes(b"damaged")
    with pytest.raises(InputError, match="cannot be read as a checkpoint of the original code"):
        load_official(module, tmp_path / "damaged.pth")
    torch.save({"model": {"weight": 3}}, tmp_path / "other.pth")
    with pytest.raises(InputError, match="no weights under `model`"):
        load_official(module, tmp_path / "other.pth")
    torch.save(Original().state_dict() | {"encoder.model.layer1.0.conv3.weight": torch.ones(1)}, tmp_path / "deep.pth")
    with pytest.raises(
        InputError, match=r"it has backbone\.network\.layer1\.0\.conv3\.weight, which the network lacks"
    ):
        load_official(module, tmp_path / "deep.pth")


def test_an_untrained_network_walks_at_random() -> None:
    """On noise the original code begins at 3.8944, above chance, with which ln 49 = 3.8918 is the loss."""
    torch.manual_seed(0)
    original = Original()
    for layer in original.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.reset_running_stats()
    module = ContrastiveRandomWalk(**ARGUMENTS, temperature=0.05, edge_dropout=0.0)
    wanted = {name: value for name, value in module.state_dict().items() if name.startswith(("backbone.", "head."))}
    module.load_state_dict(official_state_dict(original.state_dict(), wanted), strict=False)
    with torch.no_grad():
        features = module.train().backbone(torch.randn(4 * 49, 3, 64, 64)).mean((2, 3))
        nodes = functional.normalize(module.head(features), dim=-1).view(1, 4, 49, 128)
    assert palindrome_loss(nodes, 0.05).loss.item() == pytest.approx(3.8944, abs=2e-3)
    assert palindrome_loss(nodes, 0.05).loss > math.log(49)
