"""PCK of propagated joints, and the joints as files."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from torch import Tensor

from lightning_binding.callbacks.sequence_scores import SequenceScores
from lightning_binding.callbacks.strips import discs
from lightning_binding.metrics.keypoints import KeypointAccuracy


class PoseScores(SequenceScores):
    """Scores joints by PCK, as JHMDB is scored, and writes them, at every validation and test.

    Logs `val/pck_0.1` and so on (or `test/…`) in [0, 100], without the given first frames, and the speed of the
    model's step. Results are `<folder>/<sequence>.npz` with `points` (T, K, 2), x and y in pixels of the video counted
    from 0, and `frames`, the names of the frames; `results-val.csv` lies beside them.

    Args:
        num_joints: Number of joints.
        thresholds: Distances at which a joint still counts as correct, as shares of the size of the person.
        folder: Folder of the results, in the folder of the run; a later pass writes over those of an earlier one.
        write: Write the results.
        pictures: Number of sequences of which frames are drawn, as `<folder>_pictures/<sequence>.png` beside the
            results, and for a TensorBoard logger: results above, the truth below.
    """

    metric: KeypointAccuracy

    def __init__(
        self,
        num_joints: int = 15,
        thresholds: Sequence[float] = (0.1, 0.2, 0.3, 0.4, 0.5),
        folder: str = "jhmdb",
        write: bool = True,
        pictures: int = 3,
    ) -> None:
        super().__init__(KeypointAccuracy(num_joints, thresholds), "points", folder, write, pictures)

    def update(self, found: Tensor, truth: Tensor, name: str) -> None:
        """Counts the joints of a sequence."""
        self.metric.update(found, truth)

    def compute(self) -> dict[str, float]:
        """Means over joints."""
        return {name.lower().replace("@", "_"): float(value) for name, value in self.metric.compute().items()}

    def save(self, path: Path, found: Tensor, frame_names: list[str]) -> None:
        """Writes the joints of all frames."""
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(path.with_name(f"{path.name}.npz"), points=found.numpy(), frames=np.array(frame_names))

    def tint(self, annotations: Tensor, size: tuple[int, int]) -> Tensor:
        """A disc for each joint."""
        return discs(annotations, size)
