"""What callbacks share that score propagated labels: sequences in turn, their files and pictures, the log."""

import csv
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor
from torchmetrics import Metric

from lightning_binding.callbacks.strips import spread, strip
from lightning_binding.errors import InputError
from lightning_binding.images import save_png


class Adaptation(Protocol):
    """A module's `adaptation`, where it trains on each sequence before it answers; see `crw.adaptation`."""

    seconds: float
    frames: int


class SequenceScores(Callback, ABC):
    """Writes and scores what a module's step of validation, test or prediction returns for each sequence.

    A batch is a sequence (`VideoSequence`), and the step returns a mapping with the same key as its annotation. Each
    rank writes its own sequences, each as soon as it is done, so that what is written stays when a later one fails.
    The metric brings the ranks together. A sequence of which only the first frame is annotated is written, not scored;
    nor is anything scored in prediction. Speed is logged as `frames_per_second`, and what of it adaptation takes, where
    the module has one, as `adaptation_seconds_per_frame`.

    Args:
        metric: Of one pass over the data; it begins anew with each.
        key: Of the annotation, `mask` or `points`, in the sequence and in what the step returns.
        folder: Folder of the results, in the folder of the run; a later pass writes over those of an earlier one.
        write: Write the results.
        pictures: Number of sequences of which frames are drawn, as `<folder>_pictures/<sequence>.png` beside the
            results, and for a TensorBoard logger: results above, the truth below where there is one.
    """

    FRAMES = 6  # in a picture, at most

    def __init__(self, metric: Metric, key: str, folder: str, write: bool, pictures: int) -> None:
        if pictures < 0:
            raise InputError(f"pictures is {pictures}; it must be 0 (none) or more.")
        self.metric, self.key = metric, key
        self.folder, self.write, self.pictures = folder, write, pictures
        self._run: Path | None = None
        self._begun = 0.0
        self._counts = torch.zeros(4)  # sequences, those that were scored, frames, seconds
        self._adapted = torch.zeros(2)  # seconds and frames of adaptation before the pass

    @abstractmethod
    def update(self, found: Tensor, truth: Tensor, name: str) -> None:
        """Gives the metric a sequence: results and annotations of all its frames, and its name."""

    @abstractmethod
    def compute(self) -> dict[str, float]:
        """The scores over all ranks, by their names in the log without the stage."""

    @abstractmethod
    def save(self, path: Path, found: Tensor, frame_names: list[str]) -> None:
        """Writes the result of a sequence; `path` is its place without an ending."""

    @abstractmethod
    def tint(self, annotations: Tensor, size: tuple[int, int]) -> Tensor:
        """Ids (F, H, W) that show results or annotations of some frames in a picture."""

    def save_tables(self, folder: Path, stage: str, scores: Mapping[str, float]) -> None:
        """Writes the scores as `results-<stage>.csv`."""
        with (folder / f"results-{stage}.csv").open("w", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows([scores, [f"{value:.4f}" for value in scores.values()]])

    def _begin(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.metric.reset()
        self.metric.cpu()  # where results come, and where counting pixels does not hold the network up
        self._counts.zero_()
        self._adapted = _adapted(pl_module)
        # Lightning asks the ranks together for the folder, so it is asked for before their sequences differ.
        run = trainer.log_dir or trainer.default_root_dir
        self._run = None if trainer.fast_dev_run or trainer.sanity_checking else Path(run)  # type: ignore[attr-defined]

    def _take(self, trainer: Trainer, outputs: Any, sequence: Any, score: bool) -> None:
        """Writes, scores and draws a sequence."""
        seconds = time.perf_counter() - self._begun
        for given, what in ((sequence, "sequence"), (outputs, "output of the model's step")):
            if not isinstance(given, Mapping) or self.key not in given:
                names = f"has {', '.join(given)}" if isinstance(given, Mapping) else f"is {type(given).__name__}"
                raise InputError(f"{type(self).__name__} needs a {self.key!r} in each {what}, which {names}.")
        name, found, truth = sequence["name"], outputs[self.key].cpu(), sequence[self.key].cpu()
        score = score and len(truth) == len(sequence["video"])
        if self._run is not None and self.write:
            self.save(self._run / self.folder / name, found, sequence["frame_names"])
        if score:
            self.update(found, truth, name)
        if self._run is not None and trainer.is_global_zero and self._counts[0] < self.pictures:
            self._draw(trainer, sequence, [found, truth] if score else [found])
        self._counts += torch.tensor([1, score, len(found), seconds])

    def _draw(self, trainer: Trainer, sequence: Mapping[str, Any], rows: list[Tensor]) -> None:
        video, name = sequence["video"], sequence["name"]
        times = spread(len(video), self.FRAMES)
        picture = strip(video[times].cpu(), [self.tint(row[times], video.shape[-2:]) for row in rows])
        assert self._run is not None
        save_png(picture, self._run / f"{self.folder}_pictures" / f"{name.replace('/', '-')}.png")
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                logger.experiment.add_image(f"{self.folder}/{name}", picture, trainer.global_step)

    def _end(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Brings the ranks together, logs, and writes the tables."""
        if trainer.sanity_checking:
            return
        counts = torch.cat([self._counts, _adapted(pl_module) - self._adapted])
        totals: Any = trainer.strategy.reduce(counts.to(pl_module.device), reduce_op="sum")
        sequences, scored, frames, seconds, adapting, adapted = totals.tolist()
        speed = frames / max(seconds, 1e-9)
        lines = [f"{self.folder}: {sequences:.0f} sequences, {frames:.0f} frames, {speed:.1f} frames per second"]
        values = {"frames_per_second": speed}
        if adapted:
            values["adaptation_seconds_per_frame"] = adapting / adapted
            lines.append(f"Adaptation took {adapting / adapted:.3f} s of each frame.")
        if scored:
            if trainer.world_size > 1:
                self.metric.to(pl_module.device)  # processes exchange tensors of their devices
            scores = self.compute()
            values |= scores
            lines.append("  ".join(f"{key} {value:.4g}" for key, value in scores.items()))
        if scored < sequences:
            lines.append(f"{sequences - scored:.0f} sequences are not scored: only their first frame is annotated.")
        pl_module.log_dict({f"{stage}/{key}": value for key, value in values.items()}, sync_dist=True)
        if self._run is not None and self.write:
            folder = self._run / self.folder
            if scored and trainer.is_global_zero:
                folder.mkdir(parents=True, exist_ok=True)
                self.save_tables(folder, stage, scores)
            lines.append(f"Results: {folder}")
        rank_zero_info("\n".join(lines))

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begins anew."""
        self._begin(trainer, pl_module)

    def on_validation_batch_start(self, *args: Any, **kwargs: Any) -> None:
        """Takes the time."""
        self._begun = time.perf_counter()

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, *args: Any, **kwargs: Any
    ) -> None:
        """Takes a sequence."""
        self._take(trainer, outputs, batch, score=True)

    on_test_epoch_start = on_predict_epoch_start = on_validation_epoch_start
    on_test_batch_start = on_predict_batch_start = on_validation_batch_start
    on_test_batch_end = on_validation_batch_end

    def on_predict_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, *args: Any, **kwargs: Any
    ) -> None:
        """Takes a sequence, and does not score it."""
        self._take(trainer, outputs, batch, score=False)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Logs `val/…`."""
        self._end(trainer, pl_module, "val")

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Logs `test/…`."""
        self._end(trainer, pl_module, "test")

    def on_predict_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Says where the results are."""
        if self._run is not None and self.write:
            rank_zero_info(f"Results: {self._run / self.folder}")


def _adapted(pl_module: LightningModule) -> Tensor:
    """Seconds and frames of a module's adaptation so far."""
    adaptation: Adaptation | None = getattr(pl_module, "adaptation", None)
    return torch.zeros(2) if adaptation is None else torch.tensor([adaptation.seconds, float(adaptation.frames)])
