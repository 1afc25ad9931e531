"""A picture of how an agent gets better within a trial, and how that gets better with training."""

from pathlib import Path
from typing import Any

import matplotlib
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info
from matplotlib.figure import Figure
from torch import Tensor

from lightning_binding.carml.rollout import Rollout

matplotlib.use("Agg")  # no screen is needed


class AdaptationCurve(Callback):
    """Draws the mean reward of each step of a trial at every validation, as `adaptation.png` beside the log.

    A line is a validation, darker the later it was; inner episodes are divided by dotted lines. Under an agent that
    adapts, later episodes pay more than the first.

    Args:
        lines: Validations that are drawn at most, spread over the run.
    """

    def __init__(self, lines: int = 8) -> None:
        self.lines = lines
        self.curves: dict[int, Tensor] = {}
        self._sums: tuple[Tensor, Tensor] | None = None
        self._horizon = 1
        self._folder = Path()

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Asks for the run's folder, which Lightning tells all ranks together: the first alone would wait for ever."""
        self._folder = Path(trainer.log_dir or trainer.default_root_dir)

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Adds the trials up."""
        rollout: Rollout = outputs["rollout"]
        sums = rollout.world_rewards[:, rollout.valid].sum(1).double().cpu(), rollout.valid.sum().cpu()
        self._sums = sums if self._sums is None else (self._sums[0] + sums[0], self._sums[1] + sums[1])
        self._horizon = rollout.length // rollout.episodes

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draws the picture."""
        if self._sums is None:
            return
        total, count = (trainer.strategy.reduce(each.to(pl_module.device), reduce_op="sum") for each in self._sums)
        self._sums = None
        if trainer.sanity_checking or trainer.state.fn != "fit":
            return
        self.curves[trainer.global_step] = (total / count).float().cpu()
        if trainer.is_global_zero:
            self._draw()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Says where the picture is."""
        if self.curves:
            rank_zero_info(f"Adaptation: {self._folder / 'adaptation.png'} shows the reward of each step of a trial.")

    def state_dict(self) -> dict[str, Any]:
        """The curves go on when a run does."""
        return {"curves": self.curves}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes the curves up again."""
        self.curves = dict(state_dict["curves"])

    def _draw(self) -> None:
        steps = sorted(self.curves)
        places = torch.linspace(0, len(steps) - 1, min(self.lines, len(steps))).round().long().tolist()
        figure = Figure(figsize=(6, 3.6), layout="constrained")
        axis = figure.subplots()
        for number, place in enumerate(places):
            curve = self.curves[steps[place]]
            shade = matplotlib.colormaps["Blues"](0.3 + 0.7 * (number + 1) / len(places))
            axis.plot(range(1, len(curve) + 1), curve, ".-", color=shade, label=f"step {steps[place]:,}")
        for end in range(self._horizon, len(curve), self._horizon):
            axis.axvline(end + 0.5, color="0.7", linestyle=":")
        axis.set_xlabel("step of the trial")
        axis.set_ylabel("mean reward")
        axis.legend(fontsize="small")
        self._folder.mkdir(parents=True, exist_ok=True)
        figure.savefig(self._folder / "adaptation.png", dpi=110)
