"""Metrics that nobody else maintains, each a `torchmetrics.Metric`."""

from lightning_binding.metrics.davis_tables import write_davis_tables
from lightning_binding.metrics.extractors import Extractor, Inception, TimmExtractor
from lightning_binding.metrics.frechet import FrechetDistance
from lightning_binding.metrics.gaussian import frechet_distance
from lightning_binding.metrics.jaccard_boundary import JaccardBoundary
from lightning_binding.metrics.keypoints import KeypointAccuracy
from lightning_binding.metrics.mask_iou import MaskIoU

__all__ = [
    "Extractor",
    "FrechetDistance",
    "Inception",
    "JaccardBoundary",
    "KeypointAccuracy",
    "MaskIoU",
    "TimmExtractor",
    "frechet_distance",
    "write_davis_tables",
]
