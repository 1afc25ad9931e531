"""Metrics: the Fréchet distance's update and root, J and F."""

import numpy as np
import torch

from lightning_binding.metrics import FrechetDistance
from lightning_binding.metrics.gaussian import frechet_distance
from suite.side import Side

WIDTH, BATCH, BATCHES, FRAMES = 2048, 50, 8, 4


def update() -> Side:
    """Features that are added; a row costs the upper triangle of its outer product."""
    import frechet

    metric, features = FrechetDistance(frechet.Identity()), torch.randn(BATCH * BATCHES, WIDTH)
    return Side(
        lambda: frechet.seconds(metric, features, real=True) and None,
        len(features),
        len(features) * WIDTH * (WIDTH + 1),
    )


def peer_update() -> Side:
    """torchmetrics, whose sums are of float64 as well."""
    import frechet
    from torchmetrics.image.fid import FrechetInceptionDistance

    metric = FrechetInceptionDistance(feature=frechet.Identity()).set_dtype(torch.float64)
    features = torch.randn(BATCH * BATCHES, WIDTH)
    return Side(lambda: frechet.seconds(metric, features, real=True) and None, len(features))


def gaussians() -> tuple[torch.Tensor, ...]:
    """Two means and covariances of full rank."""
    features = [torch.randn(2 * WIDTH, WIDTH, dtype=torch.float64) * scale for scale in (1.0, 1.1)]
    return tuple(value for each in features for value in (each.mean(0), each.T.cov()))


def root() -> Side:
    """The distance of two Gaussians."""
    given = gaussians()
    return Side(lambda: frechet_distance(*given) is None or None, 1, warm=0)


def peer_root() -> Side:
    """The distance as the first implementations have it, by the root of a matrix that is not symmetric."""
    from scipy.linalg import sqrtm

    mu_1, sigma_1, mu_2, sigma_2 = (value.numpy() for value in gaussians())

    def call() -> None:
        trace = np.trace(sqrtm(sigma_1 @ sigma_2)).real
        assert np.isfinite(((mu_1 - mu_2) ** 2).sum() + np.trace(sigma_1) + np.trace(sigma_2) - 2 * trace)

    return Side(call, 1, warm=0)


def j_and_f() -> Side:
    """Masks of four wavy objects; the limit is to copy both masks once."""
    import jaccard_boundary

    target, prediction = (torch.from_numpy(jaccard_boundary.wavy(FRAMES, shift)) for shift in (0, 5))
    call = jaccard_boundary.ours
    return Side(lambda: call(prediction, target) is None or None, FRAMES, 2 * target.numel())


def peer_j_and_f() -> Side:
    """vos-benchmark on one thread."""
    import cv2
    import jaccard_boundary

    cv2.setNumThreads(1)
    target, prediction = (jaccard_boundary.wavy(FRAMES, shift) for shift in (0, 5))
    return Side(lambda: jaccard_boundary.theirs(prediction, target) is None or None, FRAMES)


SIDES = {
    "frechet_update": {"ours": update, "peer": peer_update},
    "frechet_root": {"ours": root, "peer": peer_root},
    "j_and_f": {"ours": j_and_f, "peer": peer_j_and_f},
}
