"""What a run needs, beside weights, optimizer and place in the data, to go on as if it had never been interrupted."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from lightning_binding.errors import InputError
from lightning_binding.metric_log import MetricLog
from lightning_binding.together import gather_objects


def random_states(module: LightningModule) -> dict[str, Any]:
    """The states of all generators of this process, as plain data: Python's, NumPy's, torch's and the module's own."""
    version, words, gauss = random.getstate()
    _, key, position, has_gauss, cached = np.random.get_state(legacy=True)  # noqa: NPY002  (what libraries draw from)
    states = {
        "python": [version, list(words), gauss],
        "numpy": [torch.from_numpy(np.asarray(key, np.int64)), int(position), int(has_gauss), float(cached)],
        "torch": torch.get_rng_state(),
    }
    if module.device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(module.device)
    generator = getattr(module, "generator", None)
    if isinstance(generator, torch.Generator):
        states["module"] = generator.get_state()
    return states


def set_random_states(states: dict[str, Any], module: LightningModule) -> None:
    """Put the states of `random_states` back."""
    version, words, gauss = states["python"]
    random.setstate((version, tuple(words), gauss))
    key, position, has_gauss, cached = states["numpy"]
    np.random.set_state(("MT19937", key.numpy().astype(np.uint32), position, has_gauss, cached))  # noqa: NPY002
    torch.set_rng_state(states["torch"].cpu())
    if "cuda" in states and module.device.type == "cuda":
        torch.cuda.set_rng_state(states["cuda"].cpu(), module.device)
    generator = getattr(module, "generator", None)
    if "module" in states and isinstance(generator, torch.Generator):
        generator.set_state(states["module"].cpu())


class ExactResume(Callback):
    """Makes a run that goes on from a checkpoint the run that was never interrupted, bit for bit.

    A checkpoint of Lightning has the weights, the optimizer and the loops; the loaders of this package add the place in
    the data (`lightning_binding.data.loader`). This callback adds the random states of every rank, and what was
    measured but not yet written into the log. Together with `RotatingCheckpoint` the weights, the average, the
    optimizer's state and the logged losses are equal to the last bit on a CPU. On a GPU they are where the kernels are
    deterministic (`--trainer.deterministic true`).

    The command line adds it to every `fit`. Use it with any LightningModule: a `generator` attribute of the module goes
    into the checkpoint, and the loader must be stateful, as torchdata's `StatefulDataLoader` is.
    """

    def __init__(self) -> None:
        self._states: list[dict[str, Any]] | None = None

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Writes the random states of all ranks, and brings the log to this point."""
        checkpoint["random_states"] = gather_objects(random_states(pl_module))
        for logger in trainer.loggers:
            logger.save()
            if isinstance(logger, MetricLog):
                checkpoint["metric_log"] = self._pending(trainer)

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Takes the states for when training starts.

        Raises:
            InputError: If the checkpoint is one of another number of processes.
        """
        states = checkpoint.get("random_states")
        if trainer.state.fn != "fit" or states is None:
            return
        if len(states) != trainer.world_size:
            raise InputError(
                f"the checkpoint was written by {len(states)} processes and would go on with {trainer.world_size}, "
                "which cannot be exact: random numbers and shares of the data belong to a process. Go on with as many "
                "(--trainer.devices, --trainer.num_nodes), or start a new run from its weights (--model.init_from)."
            )
        self._states = states
        if pending := checkpoint.get("metric_log"):
            for logger in trainer.loggers:
                if isinstance(logger, MetricLog):
                    logger.log_missing(pending["metrics"], pending["step"])

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Puts the states back, after all that a start draws."""
        if self._states is not None:
            set_random_states(self._states[trainer.global_rank], pl_module)
            self._states = None

    @staticmethod
    def _pending(trainer: Trainer) -> dict[str, Any] | None:
        """The row of a step or an epoch at whose end the checkpoint is written, which Lightning logs afterwards."""
        loop, connector = trainer.fit_loop.epoch_loop, trainer._logger_connector
        epochs, batches = trainer.fit_loop.epoch_progress.total, loop.batch_progress.total
        ends_epoch = epochs.completed < epochs.processed  # type: ignore[attr-defined]  # declared as their parents
        ends_step = batches.completed < batches.processed  # type: ignore[attr-defined]
        logged = ends_epoch or (ends_step and connector.should_update_logs)
        metrics = connector.metrics["log"] if logged else {}
        if not metrics:
            return None
        row = {"epoch": float(trainer.current_epoch)} | {name: float(value) for name, value in metrics.items()}
        return {"metrics": row, "step": loop._batches_that_stepped - ends_epoch}
