"""J and F of DAVIS: region similarity and contour accuracy of masks that were propagated through videos."""

import json
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from lightning_binding.errors import InputError
from lightning_binding.metrics.boundary import boundary_counts, disk_radius, f_measure

VOID = 255
STATISTICS = ("J-Mean", "J-Recall", "J-Decay", "F-Mean", "F-Recall", "F-Decay")


class JaccardBoundary(Metric):
    """The scores of DAVIS for masks of videos, as the official evaluation of the semi-supervised task defines them.

    J is the intersection over union of an object's masks, F compares their outlines (`boundary.f_measure`). Of both and
    for each object: the mean over frames, the share of frames above 0.5 (recall), and the mean of the first quarter of
    the frames less that of the last (decay); then the means over objects. Void pixels count as background. The official
    code keeps the ends of the quarters in eight bits, so its decay of more than 256 frames is that of other frames or
    not a number; here the quarters are right.

    Sequences may be spread over processes in any way; one that several processes scored counts once.

    Args:
        tolerance: By which outlines may differ: a share of the diagonal, or pixels from 1 on.
        drop_ends: Whether the first and the last frame are left out, as in DAVIS.
        single_object: Whether all objects count as one, as in DAVIS 2016.
        **options: Of every `torchmetrics.Metric`.
    """

    higher_is_better = True
    is_differentiable = False
    full_state_update = False
    records: list[Tensor]

    def __init__(
        self, tolerance: float = 0.008, drop_ends: bool = True, single_object: bool = False, **options: Any
    ) -> None:
        super().__init__(**options)
        self.tolerance, self.drop_ends, self.single_object = tolerance, drop_ends, single_object
        disk_radius(1, 1, tolerance)  # raises if it is out of range
        # One line of JSON for each sequence, as bytes: names of any length are gathered with the numbers.
        self.add_state("records", [], dist_reduce_fx="cat")
        self._objects: dict[str, list[float]] = {}

    def update(self, prediction: Tensor, target: Tensor, name: str) -> None:
        """Scores one sequence.

        Args:
            prediction: Ids of all frames, uint8 (T, H, W); an object may be missing.
            target: True ids, uint8 (T, H, W), 255 for void. The first frame's objects are scored, up to its highest id.
            name: Of the sequence.

        Raises:
            InputError: If the masks do not fit together or hold no object, or the name was given another sequence.
        """
        prediction, target, objects = self._prepare(prediction, target, name)
        radius = disk_radius(target.shape[1], target.shape[2], self.tolerance)
        frames = [frame_scores(*frame, objects, radius) for frame in zip(prediction, target, strict=True)]
        scores = torch.cat([statistics(values) for values in torch.stack(frames, 1)]).T.tolist()
        if self._read().setdefault(name, scores) != scores:
            raise InputError(f"two sequences are called {name!r}: names must differ, or the metric be reset.")
        line = json.dumps([name, scores]).encode() + b"\n"
        self.records.append(torch.frombuffer(bytearray(line), dtype=torch.uint8).to(self.device))

    def _prepare(self, prediction: Tensor, target: Tensor, name: str) -> tuple[Tensor, Tensor, int]:
        """The frames that count, and the number of objects."""
        if prediction.dtype != torch.uint8 or target.dtype != torch.uint8 or prediction.ndim != 3:
            raise InputError(
                f"{name}: masks must be uint8 (T, H, W), not {prediction.dtype} {tuple(prediction.shape)} and "
                f"{target.dtype} {tuple(target.shape)}."
            )
        if prediction.shape != target.shape:
            raise InputError(f"{name}: {tuple(prediction.shape)} was predicted for a target {tuple(target.shape)}.")
        if len(target) < (3 if self.drop_ends else 1):
            raise InputError(
                f"{name} has {len(target)} frames, of which none is left to score; drop_ends=False keeps the first and "
                "the last."
            )
        objects = int((target[0] * (target[0] != VOID)).max())
        if not objects:
            raise InputError(f"{name}: the first frame of the target holds no object.")
        if self.drop_ends:
            prediction, target = prediction[1:-1], target[1:-1]
        target = target.to(prediction.device)
        if self.single_object:
            return prediction.clamp(max=1), ((target > 0) & (target != VOID)).byte(), 1
        if int(prediction.max()) > objects:
            raise InputError(
                f"{name}: the prediction has the id {int(prediction.max())}, and the first frame of the target has "
                f"objects up to {objects}; single_object=True scores all as one."
            )
        return prediction, target, objects

    def _read(self) -> dict[str, list[list[float]]]:
        """Scores of each object by the name of its sequence; of several with one name, the first."""
        lines = dim_zero_cat(self.records).cpu().numpy().tobytes().splitlines() if len(self.records) else []
        return dict(json.loads(line) for line in reversed(lines))

    def compute(self) -> dict[str, Tensor]:
        """Mean over objects of all sequences: `J&F-Mean`, and mean, recall and decay of J and of F, float64 scalars.

        Raises:
            InputError: If there was no sequence.
        """
        sequences = self._read()
        if not sequences:
            raise InputError("no sequence was scored: give each to update().")
        self._objects = {
            f"{name}_{index}": scores
            for name in sorted(sequences)
            for index, scores in enumerate(sequences[name], start=1)
        }
        mean = torch.tensor(list(self._objects.values()), dtype=torch.float64).mean(0).to(self.device)
        values = dict(zip(STATISTICS, mean, strict=True))
        return {"J&F-Mean": (values["J-Mean"] + values["F-Mean"]) / 2, **values}

    def per_object(self) -> dict[str, dict[str, float]]:
        """The scores of each object, `{sequence}_{id}`, over all processes.

        It computes as `compute` does; in a distributed run, a process may call it alone once all have computed.
        """
        self.compute()
        return {name: dict(zip(STATISTICS, scores, strict=True)) for name, scores in self._objects.items()}

    def sync(self, *arguments: Any, **options: Any) -> None:
        """Gathers the scores of all processes; one without any takes part with none."""
        if not len(self.records):
            self.records.append(torch.zeros(0, dtype=torch.uint8, device=self.device))
        super().sync(*arguments, **options)


def statistics(values: Tensor) -> Tensor:
    """Mean, recall (the share above 0.5) and decay of scores.

    Args:
        values: Scores of n frames (n, ...).

    Returns:
        (3, ...). Decay is the mean of the first quarter less that of the last; both include the frame they end at.
    """
    first, last = ((len(values) - 1) * quarter + 2 for quarter in (1, 3))
    decay = values[: first // 4 + 1].mean(0) - values[last // 4 :].mean(0)
    return torch.stack([values.mean(0), (values > 0.5).to(values).mean(0), decay])


def frame_scores(prediction: Tensor, target: Tensor, objects: int, radius: int) -> Tensor:
    """J and F of each object in a frame.

    Args:
        prediction: Ids up to the number of objects, uint8 (H, W).
        target: Ids, uint8 (H, W); what is no object counts as background.
        objects: Number of objects.
        radius: By which outlines may differ, in pixels.

    Returns:
        float64 (2, objects), in [0, 1].
    """
    prediction, target = _crop(prediction, target)
    columns, rows = objects + 1, objects + 2  # the last row is of what is void in the target or no object
    kind = torch.uint8 if columns * rows <= 256 else torch.int32
    pairs = target.clamp(max=objects + 1).to(kind) * columns + prediction
    areas = pairs.flatten().bincount(minlength=columns * rows).view(rows, columns)
    shared = areas.diagonal()[1:]
    union = areas.sum(0)[1:] + areas.sum(1)[1:-1] - shared
    jaccard = torch.where(union == 0, 1.0, shared.double() / union)
    return torch.stack([jaccard, f_measure(boundary_counts(prediction, target, objects, radius))])


def _crop(prediction: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Both masks (H, W), cut to where either has an object, with a margin for boundaries."""
    both = prediction | target
    rows, columns = (both.amax(dim).nonzero().flatten().tolist() or [0] for dim in (1, 0))
    box = slice(max(rows[0] - 1, 0), rows[-1] + 2), slice(max(columns[0] - 1, 0), columns[-1] + 2)
    return prediction[box], target[box]
