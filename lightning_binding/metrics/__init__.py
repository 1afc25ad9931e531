"""Metrics that nobody else maintains, each a `torchmetrics.Metric`."""

from lightning_binding.metrics.extractors import Extractor, Inception, TimmExtractor
from lightning_binding.metrics.frechet import FrechetDistance
from lightning_binding.metrics.gaussian import frechet_distance

__all__ = ["Extractor", "FrechetDistance", "Inception", "TimmExtractor", "frechet_distance"]
