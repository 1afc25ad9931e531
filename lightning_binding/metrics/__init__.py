"""Metrics that nobody else maintains, each a `torchmetrics.Metric`."""

from lightning_binding.metrics.davis_tables import write_davis_tables
from lightning_binding.metrics.extractors import Extractor, Inception, TimmExtractor
from lightning_binding.metrics.frame_quality import FrameQuality
from lightning_binding.metrics.frechet import FrechetDistance
from lightning_binding.metrics.frechet_video import FrechetVideoDistance
from lightning_binding.metrics.gaussian import frechet_distance
from lightning_binding.metrics.i3d import I3D, CropResize, ScriptResize, TensorFlowResize
from lightning_binding.metrics.jaccard_boundary import JaccardBoundary
from lightning_binding.metrics.keypoints import KeypointAccuracy
from lightning_binding.metrics.mask_iou import MaskIoU
from lightning_binding.metrics.video_extractors import MotionExtractor, VideoExtractor
from lightning_binding.metrics.video_protocols import PROTOCOLS, VideoProtocol

__all__ = [
    "I3D",
    "PROTOCOLS",
    "CropResize",
    "Extractor",
    "FrameQuality",
    "FrechetDistance",
    "FrechetVideoDistance",
    "Inception",
    "JaccardBoundary",
    "KeypointAccuracy",
    "MaskIoU",
    "MotionExtractor",
    "ScriptResize",
    "TensorFlowResize",
    "TimmExtractor",
    "VideoExtractor",
    "VideoProtocol",
    "frechet_distance",
    "write_davis_tables",
]
