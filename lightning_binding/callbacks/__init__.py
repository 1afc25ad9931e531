"""Callbacks: what looks at a run, and never changes a method."""

from lightning_binding.callbacks.adaptation_curve import AdaptationCurve
from lightning_binding.callbacks.cluster_montage import ClusterMontage
from lightning_binding.callbacks.computation_report import ComputationReport
from lightning_binding.callbacks.ema import EMA, averaged_weights
from lightning_binding.callbacks.exact_resume import ExactResume
from lightning_binding.callbacks.generation_metrics import GenerationMetrics
from lightning_binding.callbacks.halt import HaltOnNonFinite, NonFiniteLoss
from lightning_binding.callbacks.mask_scores import MaskScores
from lightning_binding.callbacks.metric_plot import MetricPlot
from lightning_binding.callbacks.parsing_scores import ParsingScores
from lightning_binding.callbacks.pose_scores import PoseScores
from lightning_binding.callbacks.predicted_clips import PredictedClips
from lightning_binding.callbacks.prediction_metrics import VideoPredictionMetrics
from lightning_binding.callbacks.rank_watch import RankWatch
from lightning_binding.callbacks.rotating_checkpoint import RotatingCheckpoint
from lightning_binding.callbacks.sample_grid import SampleGrid
from lightning_binding.callbacks.save_on_signal import SaveOnSignal
from lightning_binding.callbacks.skill_maps import SkillMaps
from lightning_binding.callbacks.walk_picture import WalkPicture

__all__ = [
    "EMA",
    "AdaptationCurve",
    "ClusterMontage",
    "ComputationReport",
    "ExactResume",
    "GenerationMetrics",
    "HaltOnNonFinite",
    "MaskScores",
    "MetricPlot",
    "NonFiniteLoss",
    "ParsingScores",
    "PoseScores",
    "PredictedClips",
    "RankWatch",
    "RotatingCheckpoint",
    "SampleGrid",
    "SaveOnSignal",
    "SkillMaps",
    "VideoPredictionMetrics",
    "WalkPicture",
    "averaged_weights",
]
