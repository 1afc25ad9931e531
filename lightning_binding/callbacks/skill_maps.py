"""Pictures of what an unsupervised agent has made up: where it goes for each of its tasks, at every organise step."""

from pathlib import Path
from typing import Any

import matplotlib
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info
from matplotlib import colormaps
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from torch import Tensor

from lightning_binding.carml.coverage import Extent, coverage_entropy, occupancy
from lightning_binding.carml.module import CARML
from lightning_binding.carml.reward import posterior_entropy
from lightning_binding.errors import InputError

matplotlib.use("Agg")  # no screen is needed
BINS = 40


class SkillMaps(Callback):
    """Draws the trajectories of the last episodes, coloured by task, at the end of every organise step.

    `skills/progress.png` beside the log has a column for each step: the trajectories, how often each place was visited
    (coverage), and how sure each trajectory's states leave its task (posterior entropies). It needs a world with true
    positions.

    Args:
        trajectories: Trajectories that are drawn of each step; the newest ones.
        size: Side of a panel, in inches.
    """

    def __init__(self, trajectories: int = 256, size: float = 2.6) -> None:
        self.trajectories, self.size = trajectories, size
        self._steps: dict[int, dict[str, Tensor]] = {}
        self._folder = Path()

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Asks for the run's folder, which Lightning tells all ranks together.

        Raises:
            InputError: If the module is no `CARML`.
        """
        if not isinstance(pl_module, CARML):
            raise InputError(f"SkillMaps draws the tasks of CARML, and {type(pl_module).__name__} has none.")
        self._folder = Path(trainer.log_dir or trainer.default_root_dir) / "skills"

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keeps the newest trajectories of the present organise step; draws when the next one will begin another."""
        assert isinstance(pl_module, CARML)
        if pl_module.latest is None or not trainer.is_global_zero:
            return
        rollout, scaffold = pl_module.latest, pl_module.scaffold
        if rollout.positions is None or rollout.tasks is None:
            raise InputError(f"SkillMaps needs true positions, and {type(pl_module.world).__name__} has none.")
        valid = rollout.valid.cpu()
        last = rollout.positions.reshape(rollout.episodes, -1, *rollout.positions.shape[1:])[-1][:, valid]
        states = rollout.states()[pl_module.observed][-1][:, valid].movedim(1, 0)[: self.trajectories]
        found = scaffold.log_likelihood(states.to(pl_module.device)), scaffold.log_prior
        new = {
            "places": last.movedim(1, 0)[: self.trajectories].clone(),
            "tasks": rollout.tasks[valid][: self.trajectories].clone(),
            "entropy": posterior_entropy(*found).mean(1).cpu(),
        }
        old = self._steps.get(pl_module.organised)
        if old is not None and old["places"].shape[1:] != new["places"].shape[1:]:
            old = None  # a run that goes on with episodes of another length
        kept = new if old is None else {name: torch.cat([new[name], old[name]]) for name in new}
        first = pl_module.organised not in self._steps
        self._steps[pl_module.organised] = {name: value[: self.trajectories] for name, value in kept.items()}
        if first and len(self._steps) > 1:
            self._draw(pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draws the last step, too."""
        if self._steps and trainer.is_global_zero and not trainer.fast_dev_run:  # type: ignore[attr-defined]
            rank_zero_info(f"Skill maps: {self._draw(pl_module)}")

    def state_dict(self) -> dict[str, Any]:
        """The steps go on when a run does."""
        return {"steps": self._steps}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes them up again."""
        self._steps = {int(step): kept for step, kept in state_dict["steps"].items()}

    def _draw(self, pl_module: LightningModule) -> Path:
        extent = getattr(getattr(pl_module, "world", None), "extent", None)
        path = self._folder / "progress.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        draw_skills(self._steps, extent, self.size).savefig(path, dpi=100)
        return path


def draw_skills(steps: dict[int, dict[str, Tensor]], extent: Extent | None = None, size: float = 2.6) -> Figure:
    """A figure with a column for each organise step.

    Args:
        steps: For each step `places` (N, T, 2), `tasks` (N,), and `entropy` (N,) in nats.
        extent: Lowest and highest x, and y; None takes those of all places.
        size: Side of a panel, in inches.
    """
    if extent is None:
        everywhere = torch.cat([kept["places"].reshape(-1, 2) for kept in steps.values()])
        low, high = everywhere.amin(0).tolist(), everywhere.amax(0).tolist()
        extent = list(zip(low, high, strict=True))
    highest = max(float(kept["entropy"].max()) for kept in steps.values())
    figure = Figure(figsize=(size * len(steps), 2.6 * size), layout="constrained")
    panels = figure.subplots(3, len(steps), squeeze=False, height_ratios=[1, 1, 0.5])
    for column, (step, kept) in enumerate(sorted(steps.items())):
        lines, visits, left = panels[:, column]
        colours = colormaps["hsv"]((kept["tasks"] * 0.618034 % 1).numpy())  # neighbours get colours that are apart
        lines.add_collection(LineCollection(list(kept["places"].numpy()), colors=colours, linewidths=0.6, alpha=0.7))
        ends = kept["places"][:, -1]
        lines.scatter(*ends.T.numpy(), c=colours, s=5, zorder=2)
        lines.set_title(f"organise step {step}", fontsize=9)
        counts = occupancy(kept["places"], extent, BINS)
        visits.imshow(counts.T.float().log1p().numpy(), origin="lower", extent=(*extent[0], *extent[1]), cmap="magma")
        visits.set_title(f"coverage {coverage_entropy(kept['places'], extent):.2f} nats", fontsize=9)
        left.hist(kept["entropy"].numpy(), bins=20, range=(0, max(highest, 1e-3)), color="grey")
        left.set_title(f"H(z|s): {float(kept['entropy'].mean()):.2f} nats", fontsize=9)
        left.set_yticks([])
        for panel in (lines, visits):
            panel.set_xlim(*extent[0])
            panel.set_ylim(*extent[1])
            panel.set_aspect("equal")
            panel.set_xticks([])
            panel.set_yticks([])
    return figure
