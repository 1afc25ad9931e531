"""Mean IoU of propagated classes, and the classes as files."""

from torch import Tensor

from lightning_binding.callbacks.mask_results import MaskResults
from lightning_binding.metrics.mask_iou import MaskIoU


class ParsingScores(MaskResults):
    """Scores masks of classes by their mean IoU, as VIP does, and writes them, at every validation and test.

    Logs `val/miou` (or `test/miou`) in [0, 1], of all pixels of all frames, the given first one among them as in the
    published evaluation, and the speed of the model's step. Results are `<folder>/<sequence>/<frame>.png`, indexed PNGs
    called as the frames, with `results-val.csv` beside them.

    Args:
        num_classes: Number of classes, the background among them; VIP has 20.
        folder: Folder of the results, in the folder of the run; a later pass writes over those of an earlier one.
        write: Write the results.
        pictures: Number of sequences of which frames are drawn, as `<folder>_pictures/<sequence>.png` beside the
            results, and for a TensorBoard logger: results above, the truth below where there is one.
    """

    metric: MaskIoU

    def __init__(self, num_classes: int = 20, folder: str = "vip", write: bool = True, pictures: int = 3) -> None:
        super().__init__(MaskIoU(num_classes), folder, write, pictures)

    def update(self, found: Tensor, truth: Tensor, name: str) -> None:
        """Counts the pixels of a sequence."""
        self.metric.update(found, truth)

    def compute(self) -> dict[str, float]:
        """The mean over classes."""
        return {"miou": float(self.metric.compute())}
