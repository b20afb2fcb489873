"""Metrics of one image, statistics over images, thresholds. Arrays in, plain numbers out."""

from abbe.scoring.boundary import boundary_scores
from abbe.scoring.classification import (
    CLASSIFICATION_METRICS,
    ClassScores,
    class_confusion,
    class_scores,
    classification_scores,
)
from abbe.scoring.image import image_scores
from abbe.scoring.instance import instance_scores
from abbe.scoring.names import METRICS, Metric
from abbe.scoring.pixel import pixel_scores
from abbe.scoring.prompted import MEASURED, PROMPT_KINDS, PROMPTED_METRICS, prompted_key
from abbe.scoring.regions import REGION_METRICS, confusion, region_scores
from abbe.scoring.seeds import draw_seeds, mean_over_seeds
from abbe.scoring.statistics import (
    Difference,
    Interval,
    bootstrap_mean,
    paired_bootstrap,
    ratio_bootstrap,
)
from abbe.scoring.threshold import (
    InstanceThresholds,
    choose_instance_thresholds,
    choose_threshold,
)
from abbe.scoring.whole import draw_counts, whole_difference, whole_interval

__all__ = [
    "CLASSIFICATION_METRICS",
    "MEASURED",
    "METRICS",
    "PROMPTED_METRICS",
    "PROMPT_KINDS",
    "REGION_METRICS",
    "ClassScores",
    "Difference",
    "InstanceThresholds",
    "Interval",
    "Metric",
    "bootstrap_mean",
    "boundary_scores",
    "choose_instance_thresholds",
    "choose_threshold",
    "class_confusion",
    "class_scores",
    "classification_scores",
    "confusion",
    "draw_counts",
    "draw_seeds",
    "image_scores",
    "instance_scores",
    "mean_over_seeds",
    "paired_bootstrap",
    "pixel_scores",
    "prompted_key",
    "ratio_bootstrap",
    "region_scores",
    "whole_difference",
    "whole_interval",
]
