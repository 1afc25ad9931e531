"""The LightningModule: what it learns from a clip, how it propagates, and what it says about bad input."""

from pathlib import Path

import pytest
import torch
from lightning.pytorch import Trainer
from torch import Tensor
from torch.utils.data import DataLoader

from lightning_binding.crw.dense import DenseGrid
from lightning_binding.crw.module import ContrastiveRandomWalk
from lightning_binding.crw.nodes import NodeMaker
from lightning_binding.crw.patches import PatchGrid
from lightning_binding.crw.segment import segment
from lightning_binding.crw.settings import PropagationSettings
from lightning_binding.errors import InputError
from lightning_binding.export import load, save


def clips(count: int, frames: int = 4, size: int = 32) -> Tensor:
    """Still noise, which every patch can be told by: uint8 (count, frames, 3, size, size)."""
    generator = torch.Generator().manual_seed(0)
    pictures = torch.randint(256, (count, 1, 3, size // 4, size // 4), generator=generator, dtype=torch.uint8)
    return pictures.repeat_interleave(4, 3).repeat_interleave(4, 4).expand(-1, frames, -1, -1, -1)


def small(**options: object) -> ContrastiveRandomWalk:
    defaults: dict[str, object] = {
        "backbone": "emoji_resnet",
        "layer": "layer2",
        "stride": 4,
        "nodes": PatchGrid(16, 8, 32),
        "dim": 16,
        "edge_dropout": 0.0,
        "temperature": 0.1,
        "optimizer": lambda groups: torch.optim.Adam(groups, lr=3e-3),
    }
    torch.manual_seed(0)
    return ContrastiveRandomWalk(**{**defaults, **options})  # type: ignore[arg-type]


def train(module: ContrastiveRandomWalk, folder: Path, steps: int) -> Trainer:
    data = DataLoader([{"video": clip} for clip in clips(8)], batch_size=4)  # type: ignore[arg-type, var-annotated]
    trainer = Trainer(
        max_steps=steps, default_root_dir=folder, accelerator="cpu", logger=False, enable_progress_bar=False
    )
    trainer.fit(module, data)
    return trainer


@pytest.mark.parametrize("nodes", [PatchGrid(16, 8, 32), DenseGrid(32, scale=(0.6, 1.0))])
def test_training_finds_what_stays(nodes: torch.nn.Module, tmp_path: Path) -> None:
    module = small(nodes=nodes)
    batch = {"video": clips(4)}
    before = module.losses(batch, torch.Generator().manual_seed(0))[0]
    train(module, tmp_path, steps=40)
    after = module.losses(batch, torch.Generator().manual_seed(0))[0]
    assert after.loss < 0.8 * before.loss
    assert after.cycle_accuracies.mean() > before.cycle_accuracies.mean() + 0.1


def test_what_is_logged(tmp_path: Path) -> None:
    logged = train(small(), tmp_path, steps=2).logged_metrics
    cycles = {f"train/cycle_{name}_{steps}" for name in ("loss", "accuracy") for steps in (2, 3)}
    assert set(logged) == {"train/loss", "train/entropy", *cycles}
    mean = (logged["train/cycle_loss_2"] + logged["train/cycle_loss_3"]) / 2
    torch.testing.assert_close(logged["train/loss"], mean)
    assert 0 < logged["train/entropy"] < torch.tensor(9.0).log()


def test_a_frozen_backbone_stays_as_it_is(tmp_path: Path) -> None:
    module = small(freeze=True)
    before = {name: value.clone() for name, value in module.backbone.state_dict().items()}
    head = module.head[0].weight.detach().clone()
    train(module, tmp_path, steps=3)
    for name, value in module.backbone.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert not torch.equal(module.head[0].weight, head)


def test_a_frozen_backbone_keeps_its_statistics_whatever_comes_between() -> None:
    module = small(freeze=True)
    for _ in range(2):
        module.train()
        assert module.training
        assert module.head.training
        assert not module.backbone.training
        module.walk_from(clips(1)[0])
        module.clip_loss(clips(1), torch.Generator().manual_seed(0))
        module.encode(clips(1)[0])
    assert small().train().backbone.training


def test_a_checkpoint_holds_the_module(tmp_path: Path) -> None:
    module = small(eval_layer="layer1", propagation="dino", propagation_options={"radius": 3})
    train(module, tmp_path, steps=1).save_checkpoint(tmp_path / "walk.ckpt")
    again = ContrastiveRandomWalk.from_checkpoint(tmp_path / "walk.ckpt", nodes=PatchGrid(16, 8, 32))
    assert again.propagation == module.propagation
    frames = clips(1)[0]
    torch.testing.assert_close(again.encode(frames), module.encode(frames))
    assert again.encode(frames).shape[1] == 16


def test_nodes_have_unit_length_and_the_heads_width() -> None:
    for depth, width in ((-1, 32), (0, 16), (2, 16)):
        made = small(head_depth=depth).make_nodes(clips(2))["nodes"]
        assert made is not None
        assert made.shape == (2, 4, 9, width)
        torch.testing.assert_close(made.norm(dim=-1), torch.ones(2, 4, 9))


def moving(grain: int = 4) -> tuple[Tensor, Tensor]:
    """A textured square that moves 4 px a frame over texture, and its masks: (6, 3, 64, 64), (6, 64, 64)."""
    generator = torch.Generator().manual_seed(0)
    both = torch.randint(256, (2, 3, 64 // grain, 64 // grain), generator=generator, dtype=torch.uint8)
    frame, other = both.repeat_interleave(grain, 2).repeat_interleave(grain, 3)
    square = other[:, 24:40, 24:40]
    video, masks = frame.repeat(6, 1, 1, 1), torch.zeros(6, 64, 64, dtype=torch.uint8)
    for time in range(6):
        video[time, :, 24:40, 8 + 4 * time : 24 + 4 * time] = square
        masks[time, 24:40, 8 + 4 * time : 24 + 4 * time] = 1
    return video, masks


def overlap(found: Tensor, masks: Tensor) -> float:
    return float(((found == 1) & (masks == 1)).sum() / ((found == 1) | (masks == 1)).sum())


def test_masks_follow_what_moves() -> None:
    settings = {"radius": 5, "temperature": 0.01}
    module = small(layer="act1", stride=2, pretrained=True, propagation_options=settings)
    video, masks = moving()
    found = module.predict_step({"video": video, "mask": masks}, 0)["mask"]
    assert found.shape == masks.shape
    assert found.dtype == torch.uint8
    assert torch.equal(found[0], masks[0])
    assert overlap(found[1:], masks[1:]) > 0.5
    assert overlap(masks[:1].expand(5, -1, -1), masks[1:]) < 0.2  # what standing still gives


def test_pixels_as_features_are_exact_at_stride_one() -> None:
    video, masks = moving(grain=1)
    settings = PropagationSettings(radius=8, top_k=1, temperature=0.01)
    found = torch.stack(list(segment(video, masks[0], lambda frames: frames.double() - 127, settings)))
    assert overlap(found, masks) > 0.93


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"propagation": "dinov4"}, "propagation: unknown preset 'dinov4'; did you mean dinov3"),
        ({"propagation_options": {"radios": 3}}, "unknown setting 'radios'; did you mean radius"),
        ({"eval_layer": "layer4"}, "has no layer 'layer4'; it has act1, layer1, layer2"),
        ({"layer": "layer9"}, "has no layer 'layer9'"),
    ],
)
def test_bad_settings_are_explained(options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        small(**options)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda video, masks: (video, masks[:, :32]), "the first mask has 32 x 64 pixels, the frames have 64 x 64"),
        (lambda video, masks: (video, torch.zeros_like(masks)), "the first mask holds no object"),
        (lambda video, masks: (video[:0], masks), "the video has no frame"),
        (lambda video, masks: ([*list(video[:2]), video[2, :, :32]], masks), r"frame 2 has the shape \(3, 32, 64\)"),
        (lambda video, masks: (video, masks[:, None].expand(-1, 3, -1, -1)), r"expected uint8 ids \(H, W\)"),
    ],
)
def test_bad_video_is_explained(change: object, message: str) -> None:
    video, masks = change(*moving())  # type: ignore[operator]
    with pytest.raises(InputError, match=message):
        small().predict_step({"video": video, "mask": masks}, 0)


def test_a_video_of_one_frame_is_its_mask() -> None:
    video, masks = moving()
    found = small().predict_step({"video": video[:1], "mask": masks[:1]}, 0)["mask"]
    assert torch.equal(found, masks[:1])


@pytest.mark.parametrize("nodes", [PatchGrid(8, 8, 32, frame_scale=(0.5, 1)), DenseGrid(32)])
def test_walks_for_pictures_are_on_whole_frames(nodes: NodeMaker) -> None:
    module = ContrastiveRandomWalk("emoji_resnet", layer="layer2", stride=4, dim=16, nodes=nodes, temperature=0.02)
    frame = torch.randint(256, (3, 32, 32), dtype=torch.uint8)
    places = module.walk_from(frame.expand(3, -1, -1, -1))
    torch.testing.assert_close(places.sum(-1), torch.ones(places.shape[:2]))
    torch.testing.assert_close(places[0], torch.eye(places.shape[1]))
    assert torch.equal(places, module.walk_from(frame.expand(3, -1, -1, -1)))  # nothing is drawn
    torch.testing.assert_close(places[2], places[1] @ places[1])
    moved = module.walk_from(torch.stack([frame, frame.roll(8, 2)]))[1].argmax(-1)  # a node of patches, two of cells
    side = round(len(moved) ** 0.5)
    columns = (moved % side - torch.arange(len(moved)) % side).view(side, side)[1:-1, 1:-2]
    assert int(columns.median()) == (1 if isinstance(nodes, PatchGrid) else 2)


def test_an_exported_module_keeps_its_nodes(tmp_path: Path) -> None:
    nodes = DenseGrid(32, scale=(0.5, 0.75), guard=False)
    module = ContrastiveRandomWalk("emoji_resnet", layer="layer2", stride=4, nodes=nodes, temperature=0.07)
    save(module, tmp_path / "walk.safetensors")
    loaded = load(tmp_path / "walk.safetensors")
    assert isinstance(loaded, ContrastiveRandomWalk)
    assert isinstance(loaded.nodes, DenseGrid)
    assert (loaded.nodes.frame_size, loaded.nodes.scale, loaded.nodes.guard) == (32, (0.5, 0.75), False)
    frames = torch.randint(256, (2, 3, 32, 32), dtype=torch.uint8)
    torch.testing.assert_close(loaded.encode(frames), module.encode(frames))
    save(loaded, tmp_path / "again.safetensors")
    assert dict(load(tmp_path / "again.safetensors").hparams) == dict(loaded.hparams)


def test_channels_last_changes_the_order_in_memory_alone() -> None:
    def made(channels_last: bool) -> ContrastiveRandomWalk:
        torch.manual_seed(0)
        return ContrastiveRandomWalk("resnet10t", layer="layer2", stride=4, channels_last=channels_last)

    frames = torch.randint(256, (2, 3, 32, 32), dtype=torch.uint8)
    modules = [made(channels_last) for channels_last in (False, True)]
    orders = [
        {weight.is_contiguous(memory_format=torch.channels_last) for weight in module.parameters() if weight.ndim == 4}
        for module in modules
    ]
    assert False in orders[0]
    assert orders[1] == {True}
    plain, other = (module.encode(frames) for module in modules)
    torch.testing.assert_close(plain, other, atol=1e-5, rtol=1e-4)
