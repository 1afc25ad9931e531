"""The Fréchet distance between two sets of pictures, in the features of any extractor, as a streaming metric."""

from torch import Tensor

from lightning_binding.metrics.streaming import StreamingFrechet


class FrechetDistance(StreamingFrechet):
    """Fréchet distance between real and generated pictures; with Inception's features it is FID.

    Args:
        extractor: Module from pictures to features (N, d).
        reset_real_features: False keeps the real side when the metric is reset.
        unbiased: Divide the covariance by N - 1, as FID does; False divides it by N.
    """

    def update(self, images: Tensor, real: bool) -> None:
        """Adds pictures to a side.

        Args:
            images: What the extractor takes, uint8 (N, 3, H, W) in [0, 255] for those of this package.
            real: Whether they are the real side's.

        Raises:
            InputError: If the features are not finite, or not (N, d).
        """
        super().update(images, real)
