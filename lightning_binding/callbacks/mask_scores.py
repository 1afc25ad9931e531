"""J&F of propagated masks, and the masks as files."""

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from lightning_binding.callbacks.mask_results import MaskResults
from lightning_binding.metrics.davis_tables import write_davis_tables
from lightning_binding.metrics.jaccard_boundary import JaccardBoundary

KEYS = {
    "J&F-Mean": "j_and_f",
    "J-Mean": "j",
    "J-Recall": "j_recall",
    "J-Decay": "j_decay",
    "F-Mean": "f",
    "F-Recall": "f_recall",
    "F-Decay": "f_decay",
}
"""The names of the log for those of DAVIS's tables."""


class MaskScores(MaskResults):
    """Scores masks of objects by J&F, as DAVIS does, and writes them, at every validation and test.

    Logs `val/j_and_f`, `val/j`, `val/j_recall`, `val/j_decay`, `val/f`, `val/f_recall`, `val/f_decay` in [0, 1] (or
    `test/…`), and the speed of the model's step. Results are `<folder>/<sequence>/<frame>.png`, indexed PNGs of the
    size of the annotations and of their names, with `global_results-val.csv` and `per-sequence_results-val.csv` beside
    them: the layout that DAVIS's servers and tools take.

    Args:
        drop_ends: Leave the first and the last frame out of the scores, as DAVIS does.
        folder: Folder of the results, in the folder of the run; a later pass writes over those of an earlier one.
        write: Write the results.
        pictures: Number of sequences of which frames are drawn, as `<folder>_pictures/<sequence>.png` beside the
            results, and for a TensorBoard logger: results above, the truth below where there is one.
    """

    metric: JaccardBoundary

    def __init__(self, drop_ends: bool = True, folder: str = "davis", write: bool = True, pictures: int = 3) -> None:
        super().__init__(JaccardBoundary(drop_ends=drop_ends), folder, write, pictures)

    def update(self, found: Tensor, truth: Tensor, name: str) -> None:
        """Scores the masks of a sequence."""
        self.metric.update(found, truth, name)

    def compute(self) -> dict[str, float]:
        """Means over the objects of all sequences."""
        return {KEYS[name]: float(value) for name, value in self.metric.compute().items()}

    def save_tables(self, folder: Path, stage: str, scores: Mapping[str, float]) -> None:
        """Writes the tables of DAVIS."""
        write_davis_tables(
            folder, {name: scores[key] for name, key in KEYS.items()}, self.metric.per_object(), subset=stage
        )
