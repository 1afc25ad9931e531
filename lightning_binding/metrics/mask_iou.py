"""Mean intersection over union of semantic masks, as VIP is scored."""

from typing import Any

from torch import Tensor
from torchmetrics.classification import MulticlassConfusionMatrix

from lightning_binding.errors import InputError


class MaskIoU(MulticlassConfusionMatrix):
    """Mean over classes of intersection over union, of one confusion matrix of all pixels of all videos.

    Classes that are in no mask are left out of the mean.

    Args:
        num_classes: Number of classes, the background among them; VIP has 20.
        void: Value of the target whose pixels do not count.
        **options: Of every `torchmetrics.Metric`.
    """

    def __init__(self, num_classes: int = 20, void: int = 255, **options: Any) -> None:
        if num_classes < 2:
            raise InputError(f"num_classes={num_classes} must be 2 or more: the background is a class.")
        super().__init__(num_classes, ignore_index=void, validate_args=False, **options)

    def update(self, prediction: Tensor, target: Tensor) -> None:
        """Adds a video or a frame.

        Args:
            prediction: Classes, integers (..., H, W).
            target: True classes, integers (..., H, W).

        Raises:
            InputError: If the shapes differ or a value is no class.
        """
        if prediction.shape != target.shape or prediction.ndim < 2:
            raise InputError(f"{tuple(prediction.shape)} was predicted for a target {tuple(target.shape)}.")
        for name, mask in (("prediction", prediction), ("target", target)):
            if mask.is_floating_point():
                raise InputError(
                    f"the {name} is {mask.dtype}, expected integers: take the largest class of each pixel."
                )
            known = mask if name == "prediction" else mask[mask != self.ignore_index]
            if known.numel() and not 0 <= int(known.min()) <= int(known.max()) < self.num_classes:
                raise InputError(
                    f"the {name} has the values {int(known.min())} to {int(known.max())}, expected classes below "
                    f"num_classes={self.num_classes}, or void={self.ignore_index} where the target does not count."
                )
        frames = (mask.reshape(-1, *mask.shape[-2:]) for mask in (prediction, target))
        for frame, truth in zip(*frames, strict=True):  # one by one: its pixels take eight bytes each
            super().update(frame, truth)

    def compute(self) -> Tensor:
        """The mean over classes, a float64 scalar in [0, 1].

        Raises:
            InputError: If there was no pixel.
        """
        if not bool(self.confmat.any()):
            raise InputError("no pixel was scored: give masks to update().")
        shared = self.confmat.diagonal().double()
        return (shared / (self.confmat.sum(0) + self.confmat.sum(1) - shared)).nanmean()
