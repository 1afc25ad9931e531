"""ContrastiveRandomWalk: correspondence in video without labels, as a LightningModule."""

from collections.abc import Sequence
from typing import Any, ClassVar, Self

import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor, nn
from torch.nn import functional as F

from lightning_binding.backbones.create import Backbone, Padding, create_backbone
from lightning_binding.crw.adaptation import Adaptation
from lightning_binding.crw.layers import Normalise, projection
from lightning_binding.crw.nodes import NodeMaker
from lightning_binding.crw.official import load_official
from lightning_binding.crw.patches import PatchGrid
from lightning_binding.crw.points import track
from lightning_binding.crw.segment import segment
from lightning_binding.crw.settings import preset
from lightning_binding.crw.walk import EdgeDropout, Order, PalindromeLoss, entropy, palindrome_loss, transitions
from lightning_binding.module import BindingModule


class ContrastiveRandomWalk(BindingModule):
    """Trains features of video by walks that must come home, and propagates labels with them.

    Args:
        backbone: Model in timm's registry, or a `Backbone` of `create_backbone`.
        layer: Layer of the backbone that is trained: its name or its place; None is the last.
        stride: Pixels of one step of its features; None is the model's own. CRW takes 8.
        padding: How its convolutions pad; `reflect` in CRW, None leaves it.
        pretrained: Download timm's weights.
        weights: File with weights of the backbone, in any form that timm reads.
        official: Checkpoint of CRW's original code, such as its `pretrained.pth`, for backbone and head.
        backbone_options: Further arguments of the model.
        freeze: Train the head alone.
        eval_layer: Layer whose features labels are propagated with; None takes `layer`. CRW trains `layer4` of a
            ResNet and propagates with `layer3`.
        eval_head: Propagate labels with the head's output on every cell of `layer`; `eval_layer` is left out then.
        nodes: How nodes are made of a clip: `PatchGrid` or `DenseGrid`; None is `PatchGrid()`, as in CRW.
        dim: Width of the nodes; with head_depth -1 it is that of the features.
        head_depth: Hidden layers of the head that nodes pass through: 0 is linear, as in CRW, -1 none.
        feature_dropout: Dropout on the features before the head.
        temperature: Of the walk.
        edge_dropout: Probability with which an edge of the walk is left out.
        dropout_mode: `independent` masks on the way out and back, or as in the `official` code.
        two_frame_cycle: Also walk to the next frame and straight back.
        order: Order of the product of transitions: `right`, or `left` as in the paper's algorithm.
        mean: Channel means of pictures in [0, 1] in training; None is the backbone's.
        std: Channel deviations in training; None is the backbone's.
        eval_mean: Channel means when labels are propagated; None is `mean`. The original code differs in the two.
        eval_std: Channel deviations when labels are propagated; None is `std`.
        propagation: How labels are propagated: name of a preset in `crw.propagation.PRESETS`.
        propagation_options: Settings that override those of the preset, such as `{radius: 5}`.
        adaptation: How the network is trained on each video that labels are propagated in; None leaves it as it is.
        optimizer: Factory of the optimizer.
        scheduler: Factory of the learning-rate scheduler, stepped after every optimizer step; None keeps the rate.
        init_from: Checkpoint or safetensors file whose weights the run starts from.
        compile: Compile the backbone with `torch.compile`: True, or a mapping of its arguments.
        channels_last: Keep the backbone's weights, and so its features, with channels last in memory: the same numbers,
            faster convolutions.

    Raises:
        InputError: If a layer, a stride, or a preset does not exist.
    """

    sources: ClassVar[dict[str, Any]] = {"init_from": None, "pretrained": False, "weights": None, "official": None}

    def __init__(
        self,
        backbone: str | Backbone = "resnet18",
        layer: str | int | None = None,
        stride: int | None = 8,
        padding: Padding | None = None,
        pretrained: bool = False,
        weights: str | None = None,
        official: str | None = None,
        backbone_options: dict[str, Any] | None = None,
        freeze: bool = False,
        eval_layer: str | int | None = None,
        eval_head: bool = False,
        nodes: NodeMaker | None = None,
        dim: int = 128,
        head_depth: int = 0,
        feature_dropout: float = 0.0,
        temperature: float = 0.05,
        edge_dropout: float = 0.1,
        dropout_mode: EdgeDropout = "independent",
        two_frame_cycle: bool = False,
        order: Order = "right",
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        eval_mean: Sequence[float] | None = None,
        eval_std: Sequence[float] | None = None,
        propagation: str = "crw",
        propagation_options: dict[str, Any] | None = None,
        adaptation: Adaptation | None = None,
        optimizer: OptimizerCallable = torch.optim.Adam,
        scheduler: LRSchedulerCallable | None = None,
        init_from: str | None = None,
        compile: bool | dict[str, Any] = False,
        channels_last: bool = False,
    ) -> None:
        super().__init__(optimizer, scheduler, init_from, compile)
        self.save_hyperparameters()
        self.backbone = (
            backbone
            if isinstance(backbone, Backbone)
            else create_backbone(
                backbone,
                layer=layer,
                stride=stride,
                pretrained=pretrained,
                weights=weights,
                padding=padding,
                **backbone_options or {},
            )
        )
        if channels_last:
            self.backbone.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.eval_layer = None if eval_layer is None else self.backbone.layer_index(eval_layer)
        self.eval_head = eval_head
        self.nodes = nodes if nodes is not None else PatchGrid()
        self.head = projection(self.backbone.channels, dim, head_depth)
        self.feature_dropout = nn.Dropout(feature_dropout)
        self.freeze_backbone = freeze
        self.backbone.requires_grad_(not freeze).train(not freeze)
        self.walk: dict[str, Any] = {
            "temperature": temperature,
            "edge_dropout": edge_dropout,
            "dropout_mode": dropout_mode,
            "two_frame_cycle": two_frame_cycle,
            "order": order,
        }
        self.propagation = preset(propagation, propagation_options or {})
        self.adaptation = adaptation
        if official is not None:
            load_official(self, official)
        mean, std = mean or self.backbone.mean, std or self.backbone.std
        self.train_statistics = Normalise(mean, std)
        self.eval_statistics = Normalise(eval_mean or mean, eval_std or std)

    def compiled(self) -> list[nn.Module]:
        """The backbone is where the time goes."""
        return [self.backbone]

    def train(self, mode: bool = True) -> Self:
        """As every module, but for a frozen backbone, which keeps its statistics."""
        super().train(mode)
        if self.freeze_backbone:
            self.backbone.eval()
        return self

    def make_nodes(self, video: Tensor, generator: torch.Generator | None = None) -> dict[str, Tensor | None]:
        """Unit nodes of a clip uint8 (B, T, 3, H, W): `nodes` (B, T, N, D), `returned` and `target` of `Nodes`."""
        found = self.nodes(self.train_statistics(video), self.backbone, generator)

        def project(features: Tensor) -> Tensor:
            return F.normalize(self.head(self.feature_dropout(features)).float(), dim=-1)

        returned = None if found.returned is None else project(found.returned)
        return {"nodes": project(found.features), "returned": returned, "target": found.target}

    def losses(self, batch: dict[str, Any], generator: torch.Generator | None) -> tuple[PalindromeLoss, Tensor]:
        """The loss of a batch, and the mean entropy of its transitions without dropout, in nats."""
        made = self.make_nodes(batch["video"], generator)
        loss = palindrome_loss(**made, **self.walk, generator=generator)  # type: ignore[arg-type]
        with torch.no_grad():
            spread = entropy(transitions(made["nodes"].float(), self.walk["temperature"])[0])  # type: ignore[union-attr]
        return loss, spread

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        """The mean loss of a batch `{video: uint8 (B, T, 3, H, W)}`."""
        found, spread = self.losses(batch, self.generator)
        self.log("train/loss", found.loss, prog_bar=True, batch_size=len(batch["video"]))
        first = 1 if self.walk["two_frame_cycle"] else 2
        cycles = {"cycle_loss": found.cycle_losses, "cycle_accuracy": found.cycle_accuracies}
        each = {
            f"train/{name}_{first + index}": value
            for name, values in cycles.items()
            for index, value in enumerate(values)
        }
        self.log_dict({"train/entropy": spread, **each}, batch_size=len(batch["video"]))
        return found.loss

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> dict[str, Any]:
        """Propagates the first annotation of a sequence; callbacks score what this returns."""
        return self.predict_step(batch, batch_idx)

    def test_step(self, batch: dict[str, Any], batch_idx: int) -> dict[str, Any]:
        """As `validation_step`."""
        return self.predict_step(batch, batch_idx)

    def predict_step(self, batch: dict[str, Any], batch_idx: int) -> dict[str, Any]:
        """Propagates the first mask or the first points of a sequence.

        Args:
            batch: `video` uint8 (T, 3, H, W), and `mask` uint8 (T', H, W) or `points` (T', K, 2) in pixels, of which
                the first alone is looked at.
            batch_idx: Number of the sequence.

        Returns:
            `mask` uint8 (T, H, W), or `points` (T, K, 2).
        """
        settings, multiple = self.propagation, self.backbone.multiple
        watcher = None if self.adaptation is None else self.adaptation.on(self, settings.context)
        if "mask" in batch:
            masks = segment(batch["video"], batch["mask"][0], self.encode, settings, multiple, watcher=watcher)
            return {"mask": torch.stack([mask.cpu() for mask in masks])}
        points = track(batch["video"], batch["points"][0], self.encode, settings, multiple, watcher=watcher)
        return {"points": torch.stack([each.cpu() for each in points])}

    @torch.no_grad()
    def encode(self, frames: Tensor) -> Tensor:
        """Features (F, C, h, w) that labels are propagated with, of uint8 frames (F, 3, H, W)."""
        training = self.backbone.training
        layer = None if self.eval_head else self.eval_layer
        features: Tensor = self.backbone.eval()(self.eval_statistics(frames.to(self.device)), layer)
        self.backbone.train(training)
        return self.head(features.movedim(1, -1)).movedim(-1, 1) if self.eval_head else features

    def clip_loss(self, video: Tensor, generator: torch.Generator) -> Tensor:
        """The loss of clips uint8 (B, T, 3, H, W) in evaluation mode, for adaptation."""
        training = self.training
        self.eval()
        loss = self.losses({"video": video.to(self.device)}, generator)[0].loss
        self.train(training)
        return loss

    def adapted(self) -> nn.Module:
        """What adaptation trains: backbone and head."""
        return nn.ModuleList([self.backbone, self.head])

    @torch.no_grad()
    def walk_from(self, video: Tensor) -> Tensor:
        """Where walkers are in each frame of a clip.

        Args:
            video: uint8 (T, 3, H, W).

        Returns:
            Probability that a walker of a node of the first frame is at a node of frame t, (T, N, N); rows sum to one.
        """
        training = self.training
        self.eval()
        maker = self.nodes.without_chance(min(video.shape[-2:]))
        found = maker(self.eval_statistics(video[None].to(self.device)), self.backbone)
        nodes = F.normalize(self.head(found.features).float(), dim=-1)
        self.train(training)
        there = transitions(nodes, self.walk["temperature"])[0][0]
        places = [torch.eye(nodes.shape[2], device=nodes.device)]
        for step in there:
            places.append(places[-1] @ step)
        return torch.stack(places)
