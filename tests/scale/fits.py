"""A fit of a tiny network of each method, with the draws of the example and the epoch, on any number of ranks."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import lightning_binding  # noqa: F401  # isort: skip  (before anything imports torchvision)

import torch
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from lightning_binding.carml.collector import Collector
from lightning_binding.carml.data import TrialsDataModule
from lightning_binding.carml.memory import GRU
from lightning_binding.carml.meta_rl import MetaRL
from lightning_binding.carml.rollout import Rollout
from lightning_binding.carml.worlds import FindTheArm
from lightning_binding.crw.module import ContrastiveRandomWalk
from lightning_binding.crw.patches import PatchGrid
from lightning_binding.data.loader import train_loader
from lightning_binding.rin.module import RINDiffusion

EXAMPLES = 24
Generator = torch.Generator


def sgd(parameters: Any) -> torch.optim.Optimizer:
    """Plain: Adam would blow differences of rounding up where a gradient is nearly zero."""
    return torch.optim.SGD(parameters, lr=0.1, momentum=0.9)


class Numbered(Dataset[dict[str, Any]]):
    """Random pictures and clips, each with its number and the epoch."""

    def __init__(self) -> None:
        source = Generator().manual_seed(1)
        self.image = torch.randint(256, (EXAMPLES, 3, 8, 8), generator=source, dtype=torch.uint8)
        self.video = torch.randint(256, (EXAMPLES, 3, 3, 32, 32), generator=source, dtype=torch.uint8)

    def __len__(self) -> int:
        return EXAMPLES

    def __getitems__(self, draws: list[tuple[int, int]]) -> dict[str, Any]:
        index, epoch = torch.tensor(draws).unbind(1)
        fields = {"image": self.image[index], "label": index % 3, "video": self.video[index]}
        return {**fields, "index": index, "epoch": epoch}


class NumberedPictures(LightningDataModule):
    """The package's own loader of training."""

    def __init__(self, batch_size: int) -> None:
        super().__init__()
        self.batch_size = batch_size

    def train_dataloader(self) -> DataLoader[Any]:
        return train_loader(Numbered(), self.batch_size, 0, seed=5, trainer=self.trainer)


def one_by_one(batch: dict[str, Any], loss: Callable[[dict[str, Any], Generator], Tensor]) -> Tensor:
    """The mean of the losses of single examples, each with a generator of its own."""
    losses = []
    for place, (index, epoch) in enumerate(zip(batch["index"].tolist(), batch["epoch"].tolist(), strict=True)):
        source = Generator().manual_seed(1000 * epoch + index)
        losses.append(loss({name: value[place : place + 1] for name, value in batch.items()}, source))
    return torch.stack(losses).mean()


class Diffusion(RINDiffusion):
    """With the example's draws of noise, time and self-conditioning."""

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        return one_by_one(batch, lambda one, source: self.losses(one, source).mean())


class Walk(ContrastiveRandomWalk):
    """With the example's draws of patches and edges."""

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        return one_by_one(batch, lambda one, source: self.losses(one, source)[0].loss)


class Share(Collector):
    """Collects with all environments on every rank, and keeps the rank's share of the trials."""

    ranks, rank = 1, 0

    def collect(self, *args: Any, **options: Any) -> Rollout:
        whole = vars(super().collect(*args, **options))
        one = slice(self.rank, None, self.ranks)
        for name in ("recall", "actions", "rewards", "world_rewards"):
            whole[name] = whole[name][:, one]
        whole["valid"] = whole["valid"][one]
        for name in ("observations", "finals"):
            whole[name] = {key: value[:, one] for key, value in whole[name].items()}
        assert whole["tasks"] is None
        return Rollout(**{**whole, "positions": None, "successes": None, "features": None})


class Shared(TrialsDataModule):
    """The trials of one process, dealt to the ranks; one minibatch a rollout, so that all make the same one."""

    def train_dataloader(self) -> DataLoader[dict[str, Any]]:
        if self._collector is None:
            world = self._chosen(self.world)
            self._collector = Share(world.make(self.envs, 0), world, self.steps, 0)
            self._collector.ranks, self._collector.rank = self.trainer.world_size, self.trainer.global_rank
        loader = super().train_dataloader()
        self._trials.trials = self.envs // self.trainer.world_size
        return loader


def pair(method: str, batch_size: int, draws: str, minibatches: int) -> tuple[LightningModule, LightningDataModule]:
    """The module, with the weights of seed 0, and its data."""
    if method == "rin":
        kind = Diffusion if draws == "example" else RINDiffusion
        return kind("rin_tiny", optimizer=sgd, label_dropout=0.2), NumberedPictures(batch_size)
    if method.startswith("crw"):
        walk = Walk if draws == "example" else ContrastiveRandomWalk
        norm = {"norm_layer": "groupnorm"} if method == "crw" else {}
        return (
            walk(
                "resnet18", layer="layer1", stride=4, dim=16, nodes=PatchGrid(16, 8, 32), optimizer=sgd,
                backbone_options=norm,
            ),
            NumberedPictures(batch_size),
        )  # fmt: skip
    return (
        MetaRL(FindTheArm(), memory=GRU(hidden=8), optimizer=sgd),
        Shared(envs=8, minibatches=minibatches, passes=2, eval_trials=8),
    )


def fit(method: str, ranks: int, batch_size: int, accumulate: int, draws: str, out: Path) -> dict[str, Any]:
    """Fits for two epochs; the parameters before and after, and the steps.

    Several ranks are forks of this process, which share the modules that it has imported.

    Args:
        method: `rin`, `crw` (without BatchNorm), `crw_bn` or `carml`.
        ranks: Processes.
        batch_size: Of each rank.
        accumulate: Batches in a step.
        draws: With `example`, every example's noise is a function of it and of the epoch, and so the same whichever
            rank has it; with `rank`, it comes from each rank's own generator, as in any run.
        out: File through which the first rank hands its result over.
    """
    torch.manual_seed(0)
    module, data = pair(method, batch_size, draws, minibatches=accumulate)  # a rollout is a step
    trainer = Trainer(
        accelerator="cpu", devices=ranks, strategy="ddp_fork" if ranks > 1 else "auto", max_epochs=2, logger=False,
        enable_progress_bar=False, enable_checkpointing=False, enable_model_summary=False, limit_val_batches=0,
        accumulate_grad_batches=accumulate, default_root_dir=out.parent, callbacks=[HandOver(out)],
    )  # fmt: skip
    trainer.fit(module, data)
    return cast(dict[str, Any], torch.load(out))


class HandOver(Callback):
    """Writes the first rank's parameters before and after, and the number of steps."""

    def __init__(self, out: Path) -> None:
        self.out, self.before = out, dict[str, Tensor]()

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.before = {name: value.clone() for name, value in pl_module.named_parameters()}

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.is_global_zero:
            after = dict(pl_module.named_parameters())
            torch.save({"before": self.before, "after": after, "steps": trainer.global_step}, self.out)
