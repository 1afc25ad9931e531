"""Pictures of where walkers go: chosen patches of a frame, and the probability of each place in the frames after it."""

from pathlib import Path
from typing import Any, Protocol, cast

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor
from torch.nn import functional as F

from lightning_binding.callbacks.ema import averaged_weights
from lightning_binding.images import make_grid, save_png

HEAT = (255, 40, 0)
TRAINING_STEPS = 1000
"""Optimizer steps between two pictures of training clips, where nothing else is said."""


class Walker(Protocol):
    """A module with walks."""

    def walk_from(self, video: Tensor) -> Tensor:
        """Probabilities (T, N, N) of a clip uint8 (T, 3, H, W); see `ContrastiveRandomWalk.walk_from`."""


class WalkPicture(Callback):
    """Draws walks as PNG beside the log: through the first validation sequence, at every validation.

    Where a run has no validation, they are walks through the first clip of a training batch, every so many steps. A row
    is a walker: its patch is framed in the first picture, and the colour on the others is the probability of where it
    is. A TensorBoard logger is given the picture too. The averaged weights are used where there is an `EMA` callback.

    Args:
        walkers: Rows; the patches of objects come first where the sequence has masks, then others in turn.
        frames: Pictures in a row.
        every: Frames of the sequence from one picture to the next.
        every_n_steps: Optimizer steps between two pictures at least; None draws one at every validation, and every
            1000 steps where there is none.
        scale: Every pixel becomes a square of this side.
    """

    def __init__(
        self, walkers: int = 4, frames: int = 6, every: int = 1, every_n_steps: int | None = None, scale: int = 2
    ) -> None:
        self.walkers, self.frames, self.every = walkers, frames, every
        self.every_n_steps, self.scale = every_n_steps, scale
        self._drawn: int | None = None
        self._folder = Path()

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Asks for the run's folder, which Lightning tells all ranks together: the first alone would wait for ever."""
        self._folder = Path(trainer.log_dir or trainer.default_root_dir) / "walks"

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Draws the first sequence."""
        if batch_idx == 0 and not trainer.sanity_checking and self._due(trainer, self.every_n_steps or 1):
            self._draw(trainer, pl_module, batch["video"], batch["mask"][0] if "mask" in batch else None)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Draws the first clip, if there is no validation."""
        if not validates(trainer) and self._due(trainer, self.every_n_steps or TRAINING_STEPS):
            self._draw(trainer, pl_module, batch["video"][0], batch["mask"][0, 0] if "mask" in batch else None)

    def _due(self, trainer: Trainer, steps: int) -> bool:
        return trainer.is_global_zero and (self._drawn is None or trainer.global_step - self._drawn >= steps)

    def _draw(self, trainer: Trainer, pl_module: LightningModule, video: Tensor, mask: Tensor | None) -> None:
        self._drawn = trainer.global_step
        video = video[:: self.every][: self.frames]
        with averaged_weights(trainer, pl_module):
            places = cast(Walker, pl_module).walk_from(video).cpu()
        picture = draw_walks(video.cpu(), places, starts(mask, places.shape[1], self.walkers))
        path = save_png(picture, self._folder / f"step-{trainer.global_step:08d}.png", self.scale)
        rank_zero_info(f"Walks: {path}")
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                logger.experiment.add_image("walks", picture, trainer.global_step)


def validates(trainer: Trainer) -> bool:
    """Whether a run that trains also validates; where its validation was not yet looked at, that it has one counts."""
    if not trainer.enable_validation:
        return False
    return trainer.val_dataloaders is None or sum(trainer.num_val_batches) > 0


def starts(mask: Tensor | None, nodes: int, count: int) -> list[int]:
    """The nodes that walkers start from: the one with most of each object, then others spread over the frame.

    Args:
        mask: Ids of the first frame, (H, W), or None.
        nodes: Number of nodes, a square.
        count: How many to choose; fewer where there are fewer nodes.
    """
    side = round(nodes**0.5)
    chosen: list[int] = []
    if mask is not None:
        for each in torch.unique(mask).tolist():
            if each not in (0, 255):
                share = F.adaptive_avg_pool2d((mask == each).float()[None].cpu(), side).flatten()
                chosen.append(int(share.argmax()))
    spread = [(index * nodes) // count + side // 2 for index in range(count)]
    return list(dict.fromkeys([*chosen, *(node % nodes for node in spread)]))[:count]


def draw_walks(video: Tensor, places: Tensor, chosen: list[int]) -> Tensor:
    """A picture of walks.

    Args:
        video: Frames uint8 (T, 3, H, W).
        places: Probabilities (T, N, N) of nodes that lie on a square grid.
        chosen: Nodes that walkers start from; a row each.

    Returns:
        uint8 (3, H', W').
    """
    side = round(places.shape[1] ** 0.5)
    size = video.shape[-2:]
    colour = torch.tensor(HEAT, dtype=torch.float)[:, None, None]
    rows = []
    for node in chosen:
        chance = places[:, node].view(-1, 1, side, side)
        chance = F.interpolate(chance / chance.amax((1, 2, 3), keepdim=True).clamp(min=1e-12), size, mode="bilinear")
        frames = (video * (1 - 0.7 * chance) + colour * 0.7 * chance).round().to(torch.uint8)
        frames[0] = video[0]
        _frame(frames[0], node // side, node % side, side)
        rows.append(frames)
    return make_grid(torch.cat(rows), len(video))


def _frame(picture: Tensor, row: int, column: int, side: int) -> None:
    """Frames a cell of a grid in a picture, in place."""
    height, width = picture.shape[-2:]
    top, bottom = row * height // side, (row + 1) * height // side - 1
    left, right = column * width // side, (column + 1) * width // side - 1
    colour = torch.tensor(HEAT, dtype=torch.uint8)[:, None]
    for line in (top, bottom):
        picture[:, line, left : right + 1] = colour
    for line in (left, right):
        picture[:, top : bottom + 1, line] = colour
