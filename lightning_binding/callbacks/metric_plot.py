"""A plot of what was logged, written when a run ends."""

from collections import defaultdict
from pathlib import Path
from typing import Any

import matplotlib
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info, rank_zero_only
from matplotlib.figure import Figure
from torch import Tensor

matplotlib.use("Agg")  # no screen is needed
COLUMNS = 4  # panels in a row
MANY = 1000  # points beyond which the best place for a legend takes too long to find


class MetricPlot(Callback):
    """Draws what is logged as `train/…` or `val/…` against the optimizer step, one panel each, as `metrics.png`.

    Training and validation values of one name (`train/loss`, `val/loss`) share a panel. It is written at the end of
    the run and when the run is interrupted.

    Args:
        every_n_steps: Optimizer steps between two points of a training metric.
        smoothing: Weight of the past in the running mean of training metrics, in [0, 1); 0 plots them as they are.
    """

    def __init__(self, every_n_steps: int = 10, smoothing: float = 0.7) -> None:
        self.every_n_steps, self.smoothing = every_n_steps, smoothing
        self.history: dict[str, dict[int, float]] = defaultdict(dict)
        self._kept: dict[str, Tensor] = {}
        self._folder = Path()

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Asks for the run's folder, which Lightning tells all ranks together: the first alone would wait for ever."""
        self._folder = Path(trainer.log_dir or trainer.default_root_dir)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Keeps the training metrics."""
        if trainer.global_step % self.every_n_steps == 0:
            self._keep(trainer, "train/")

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keeps what was measured before the first step."""
        self._keep(trainer, "val/")

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keeps the validation metrics."""
        if not trainer.sanity_checking:
            self._keep(trainer, "val/")

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draws the plot."""
        self._keep(trainer, "val/")
        self._draw(trainer)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Draws the plot of an interrupted run too."""
        self._draw(trainer)

    def state_dict(self) -> dict[str, Any]:
        """The history goes on when a run does."""
        return {"history": {name: list(points.items()) for name, points in self.history.items()}}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes the history up again."""
        for name, points in state_dict["history"].items():
            self.history[name].update({int(step): float(value) for step, value in points})

    def _keep(self, trainer: Trainer, prefix: str) -> None:
        for name, value in trainer.callback_metrics.items():
            # The trainer keeps showing a value until there is a new one: what was kept before is no new point.
            if name.startswith(prefix) and value is not self._kept.get(name):
                self._kept[name] = value
                self.history[name][trainer.global_step] = float(value)

    @rank_zero_only
    def _draw(self, trainer: Trainer) -> None:
        if not any(self.history.values()) or trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        panels = sorted({name.split("/", 1)[-1] for name in self.history})
        columns = min(len(panels), COLUMNS)
        rows = -(-len(panels) // columns)
        width, height = 4.4 * columns, 3.2 * rows
        figure = Figure(figsize=(width, height))
        # A layout engine would draw everything several times; panels that are alike have the same margins, in inches.
        figure.subplots_adjust(0.7 / width, 0.5 / height, 1 - 0.2 / width, 1 - 0.4 / height, wspace=0.3, hspace=0.4)
        for place, panel in enumerate(panels):
            axis = figure.add_subplot(rows, columns, place + 1)
            names = sorted(name for name in self.history if name.split("/", 1)[-1] == panel)
            for name in names:
                steps, values = zip(*sorted(self.history[name].items()), strict=True)
                if name.startswith("train/"):
                    axis.plot(steps, self._smooth(values), label=name)
                else:
                    axis.plot(steps, values, "o-", label=name)
            shown = [value for name in names for value in self.history[name].values()]
            axis.set_title(panel)
            axis.legend(loc="best" if len(shown) < MANY else "upper left")
            if place >= len(panels) - columns:
                axis.set_xlabel("optimizer step")
            if 0 < 10 * min(shown) < max(shown):
                axis.set_yscale("log")
        path = self._folder / "metrics.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=110)
        rank_zero_info(f"Metrics: {path} plots what was logged.")

    def _smooth(self, values: tuple[float, ...]) -> list[float]:
        mean, smoothed = values[0], []
        for value in values:
            mean = self.smoothing * mean + (1 - self.smoothing) * value
            smoothed.append(mean)
        return smoothed
