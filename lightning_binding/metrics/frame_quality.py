"""How like two clips are, frame by frame: PSNR and SSIM."""

import math

from torch import Tensor
from torchmetrics import MeanMetric, MetricCollection
from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure

# Rounding to whole grey levels has an error of variance 1/12: above the PSNR of that, frames count as equal.
PSNR_MAX = 10 * math.log10(12 * 255**2)


class FrameQuality(MetricCollection):
    """Mean over frames of PSNR, in dB, and of SSIM, in [-1, 1]; both are large where frames are alike.

    The PSNR of equal frames, which is infinite, counts as that of rounding, 58.9 dB.
    """

    def __init__(self) -> None:
        super().__init__({"psnr": MeanMetric(), "ssim": MeanMetric()}, compute_groups=False)

    def update(self, frames: Tensor, truth: Tensor) -> None:  # type: ignore[override]
        """Compares frames with the true ones.

        Args:
            frames: uint8 clips (B, T, C, H, W) in [0, 255].
            truth: Clips of the same shape.
        """
        pair = frames.flatten(0, 1).float(), truth.flatten(0, 1).float()
        psnr = peak_signal_noise_ratio(*pair, data_range=255.0, reduction="none", dim=(1, 2, 3))
        ssim = structural_similarity_index_measure(*pair, data_range=255.0, reduction="none")
        self["psnr"].update(psnr.clamp_max(PSNR_MAX))
        self["ssim"].update(ssim)
