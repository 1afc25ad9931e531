"""Pictures of samples while a generative model trains."""

from pathlib import Path
from typing import Any, Protocol, cast

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor

from lightning_binding.callbacks.ema import averaged_weights
from lightning_binding.images import make_grid, save_png


class Generative(Protocol):
    """A module that draws pictures."""

    def sample(self, num: int, *, steps: int | None, generator: torch.Generator | None) -> Tensor:
        """uint8 pictures (num, C, H, W)."""


class SampleGrid(Callback):
    """Draws the same samples before training and at every validation, and writes them as PNG beside the log.

    `samples/step-00000000.png` and so on are the grids; `samples/progress.png` puts the first samples of each into a
    row of its own, the oldest on top. A TensorBoard logger is given them too. The averaged weights are used where
    there is an `EMA` callback.

    Args:
        num: Pictures in a grid; the module's classes are taken in turn.
        columns: Pictures in a row; also the pictures in a row of `progress.png`.
        steps: Sampling steps; None takes the module's.
        every_n_steps: Optimizer steps between two grids at least; None draws one at every validation.
        seed: Seed of the noise, the same for every grid.
        scale: Every pixel becomes a square of this side.
    """

    def __init__(
        self,
        num: int = 40,
        columns: int = 10,
        steps: int | None = None,
        every_n_steps: int | None = None,
        seed: int = 0,
        scale: int = 2,
    ) -> None:
        self.num, self.columns, self.steps = num, columns, steps
        self.every_n_steps, self.seed, self.scale = every_n_steps, seed, scale
        self._drawn: dict[int, Tensor] = {}
        self._folder = Path()

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Asks for the run's folder, which Lightning tells all ranks together: the first alone would wait for ever."""
        self._folder = Path(trainer.log_dir or trainer.default_root_dir) / "samples"

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The samples of the weights that training starts from."""
        self._draw(trainer, pl_module)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The samples at a validation; `validate` by itself draws them too."""
        alone = trainer.state.fn == TrainerFn.VALIDATING
        due = alone or not self._drawn or trainer.global_step - max(self._drawn) >= (self.every_n_steps or 1)
        if not trainer.sanity_checking and due:
            self._draw(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The samples of the end, if the last validation did not draw them."""
        if trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        if trainer.global_step not in self._drawn:
            self._draw(trainer, pl_module)
        rank_zero_info(f"Samples: {self._folder / 'progress.png'} shows their progress over training.")

    def state_dict(self) -> dict[str, Any]:
        """The first samples of each grid, so that `progress.png` goes on when a run does."""
        return {"drawn": self._drawn}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes them up again."""
        self._drawn = {int(step): pictures.cpu() for step, pictures in state_dict["drawn"].items()}

    def _draw(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        generator = torch.Generator(pl_module.device).manual_seed(self.seed)
        with averaged_weights(trainer, pl_module), torch.random.fork_rng(devices=[]):
            module, pictures = cast(Generative, pl_module), torch.empty(0)
            if trainer.is_global_zero:
                pictures = module.sample(self.num, steps=self.steps, generator=generator).cpu()
        step = trainer.global_step
        self._drawn[step] = pictures[: self.columns]
        if not trainer.is_global_zero:  # the others know when, and come along
            return
        grid = make_grid(pictures, self.columns)
        save_png(grid, self._folder / f"step-{step:08d}.png", self.scale)
        progress = make_grid(torch.cat([self._drawn[at] for at in sorted(self._drawn)]), self.columns)
        save_png(progress, self._folder / "progress.png", self.scale)
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                logger.experiment.add_image("samples", grid, step)
