"""Pictures of tasks: frames of the trajectories that belong to each, after every organise step."""

from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor

from lightning_binding.carml.module import CARML
from lightning_binding.errors import InputError
from lightning_binding.images import make_grid, save_png


class ClusterMontage(Callback):
    """Draws a row of frames for each task after every organise step, as `clusters/organise-<n>.png` beside the log.

    A row has frames of the trajectories that most surely have the task, some of each.

    Args:
        trajectories: Trajectories of a task.
        frames: Frames of each, evenly spaced, the last one among them.
        among: Trajectories of the reservoir that are looked at.
        scale: Every pixel becomes a square of this side.
        seed: Of the choice of the trajectories that are looked at.
    """

    def __init__(self, trajectories: int = 4, frames: int = 3, among: int = 512, scale: int = 1, seed: int = 0) -> None:
        self.trajectories, self.frames, self.among, self.scale, self.seed = trajectories, frames, among, scale, seed
        self._drawn = 0
        self._folder = Path()

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Asks for the run's folder, which Lightning tells all ranks together.

        Raises:
            InputError: If the module is no `CARML`, or sees no pictures.
        """
        if not isinstance(pl_module, CARML):
            raise InputError(f"ClusterMontage draws the tasks of CARML, and {type(pl_module).__name__} has none.")
        space = pl_module.agent.spaces[pl_module.observed]
        if len(space.shape or ()) != 3:
            raise InputError(
                f"ClusterMontage draws pictures, and the observations are {space}: choose a world with pictures, or "
                "SkillMaps."
            )
        self._folder = Path(trainer.log_dir or trainer.default_root_dir) / "clusters"

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Draws, if the rollout of this batch is the first one after an organise step."""
        assert isinstance(pl_module, CARML)
        if batch_idx or pl_module.organised == self._drawn or not trainer.is_global_zero:
            return
        self._drawn = pl_module.organised
        generator = torch.Generator().manual_seed(self.seed)  # one of its own: looking changes nothing
        seen = pl_module.reservoir.trajectories(self.among, generator)
        posterior = pl_module.scaffold.log_posterior(seen)
        picture = draw_clusters(seen, posterior.cpu(), self.trajectories, self.frames)
        path = save_png(picture, self._folder / f"organise-{pl_module.organised:02d}.png", self.scale)
        rank_zero_info(f"Clusters: {path}")

    def state_dict(self) -> dict[str, Any]:
        """A resumed run does not draw a step twice."""
        return {"drawn": self._drawn}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes it up again."""
        self._drawn = int(state_dict["drawn"])


def draw_clusters(seen: Tensor, log_posterior: Tensor, trajectories: int, frames: int) -> Tensor:
    """A row for each task.

    Args:
        seen: Pictures of trajectories, uint8 (N, T, C, H, W).
        log_posterior: Log q(z|tau), (N, K).
        trajectories: Trajectories of a row: the surest of those whose most probable task it is. Where there are fewer,
            the rest of the row is black.
        frames: Frames of each.

    Returns:
        uint8 (C, H', W').
    """
    times = torch.linspace(0, seen.shape[1] - 1, frames + 1)[1:].round().long()
    owner = log_posterior.argmax(-1)
    rows = []
    for task in range(log_posterior.shape[1]):
        own = torch.nonzero(owner == task).flatten()
        surest = own[log_posterior[own, task].argsort(descending=True)][:trajectories]
        row = seen.new_zeros(trajectories * frames, *seen.shape[2:])
        row[: len(surest) * frames] = seen[surest][:, times].flatten(0, 1)
        rows.append(row)
    return make_grid(torch.cat(rows), trajectories * frames)
