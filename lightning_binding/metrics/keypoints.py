"""PCK of JHMDB: the share of joints that were propagated to within a part of the person's size."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from lightning_binding.errors import InputError


class KeypointAccuracy(Metric):
    """Percentage of correct keypoints, as the evaluation of CRW on JHMDB defines it.

    A joint is correct if its distance to the true place is at most a share of the person's size, which is 0.6 times the
    diagonal of the box around the true joints that are seen in the frame. Each joint has a percentage, over all videos;
    the result is their mean, without joints that were never seen.

    Args:
        num_joints: Number of joints.
        thresholds: The shares.
        drop_first: Whether the first frame of a video, which was given, is left out.
        box_scale: Of the diagonal.
        **options: Of every `torchmetrics.Metric`.
    """

    higher_is_better = True
    is_differentiable = False
    full_state_update = False
    correct: Tensor
    seen: Tensor

    def __init__(
        self,
        num_joints: int = 15,
        thresholds: Sequence[float] = (0.1, 0.2, 0.3, 0.4, 0.5),
        drop_first: bool = True,
        box_scale: float = 0.6,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        if num_joints < 1 or not thresholds or min(thresholds) < 0 or box_scale <= 0:
            raise InputError(
                f"num_joints={num_joints}, thresholds={tuple(thresholds)} and box_scale={box_scale} must be positive."
            )
        self.thresholds, self.drop_first, self.box_scale = tuple(thresholds), drop_first, box_scale
        self.add_state("correct", torch.zeros(len(thresholds), num_joints, dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("seen", torch.zeros(num_joints, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, prediction: Tensor, target: Tensor) -> None:
        """Adds a video.

        Args:
            prediction: Places x, y of all joints in pixels, (T, K, 2); what is not finite is wrong.
            target: True places (T, K, 2), NaN where a joint is not seen.

        Raises:
            InputError: If the shapes are not those.
        """
        expected = (len(target), len(self.seen), 2)
        if prediction.shape != expected or target.shape != expected:
            raise InputError(
                f"places have the shapes {tuple(prediction.shape)} and {tuple(target.shape)}, expected (T, "
                f"num_joints={len(self.seen)}, 2) for both."
            )
        start = int(self.drop_first)
        prediction, target = (places[start:].to(self.device, torch.float64) for places in (prediction, target))
        seen = target.isfinite().all(-1)
        low = target.masked_fill(~seen[..., None], torch.inf).amin(1)
        high = target.masked_fill(~seen[..., None], -torch.inf).amax(1)
        size = self.box_scale * (high - low).norm(dim=-1, keepdim=True)
        distance = (prediction - target).norm(dim=-1)
        share = torch.where(distance == 0, 0.0, distance / size)  # a single joint has no size: it is right or wrong
        self.correct += torch.stack([(share <= threshold) & seen for threshold in self.thresholds]).sum(1)
        self.seen += seen.sum(0)

    def compute(self) -> dict[str, Tensor]:
        """`PCK@{threshold}`, float64 scalars in [0, 100].

        Raises:
            InputError: If no joint was seen.
        """
        if not bool(self.seen.any()):
            raise InputError("no joint was seen in any frame that counts: are there videos of two frames or more?")
        percentages = (100 * self.correct.double() / self.seen).nanmean(1)
        return {f"PCK@{threshold:g}": value for threshold, value in zip(self.thresholds, percentages, strict=True)}
