"""What scores of masks share, whether their ids are objects or classes: how they are written and drawn."""

from pathlib import Path

from torch import Tensor
from torchmetrics import Metric

from lightning_binding.callbacks.sequence_scores import SequenceScores
from lightning_binding.masks import write_mask


class MaskResults(SequenceScores):
    """Writes masks as `<folder>/<sequence>/<frame>.png`, indexed PNGs called as the frames.

    Args:
        metric: Of one pass over the data.
        folder: Folder of the results, in the folder of the run.
        write: Write the results.
        pictures: Number of sequences of which frames are drawn.
    """

    def __init__(self, metric: Metric, folder: str, write: bool, pictures: int) -> None:
        super().__init__(metric, "mask", folder, write, pictures)

    def save(self, path: Path, found: Tensor, frame_names: list[str]) -> None:
        """Writes a mask for each frame."""
        for mask, name in zip(found, frame_names, strict=True):
            write_mask(path / f"{name}.png", mask)

    def tint(self, annotations: Tensor, size: tuple[int, int]) -> Tensor:
        """The masks themselves."""
        return annotations
