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
from abbe.scoring.names import METRICS, TYPE_METRICS, Metric
from abbe.scoring.pixel import pixel_scores
from abbe.scoring.prompted import MEASURED, PROMPT_KINDS, PROMPTED_METRICS, prompted_key
from abbe.scoring.regions import REGION_METRICS, confusion, region_scores
from abbe.scoring.seeds import Measured, joined, measured_means, spread_over_seeds
from abbe.scoring.statistics import (
    MINIMUM_GROUPS,
    Difference,
    Interval,
    Scale,
    Spread,
    difference_of,
    interval_of,
    mean_interval,
    numbered,
    paired_difference,
    ratio_interval,
    spread_over_groups,
)
from abbe.scoring.threshold import (
    InstanceThresholds,
    choose_instance_thresholds,
    choose_threshold,
)
from abbe.scoring.typed import TypeCounts, together, typed_counts, typed_scores
from abbe.scoring.whole import leave_out

__all__ = [
    "CLASSIFICATION_METRICS",
    "MEASURED",
    "METRICS",
    "MINIMUM_GROUPS",
    "PROMPTED_METRICS",
    "PROMPT_KINDS",
    "REGION_METRICS",
    "TYPE_METRICS",
    "ClassScores",
    "Difference",
    "InstanceThresholds",
    "Interval",
    "Measured",
    "Metric",
    "Scale",
    "Spread",
    "TypeCounts",
    "boundary_scores",
    "choose_instance_thresholds",
    "choose_threshold",
    "class_confusion",
    "class_scores",
    "classification_scores",
    "confusion",
    "difference_of",
    "image_scores",
    "instance_scores",
    "interval_of",
    "joined",
    "leave_out",
    "mean_interval",
    "measured_means",
    "numbered",
    "paired_difference",
    "pixel_scores",
    "prompted_key",
    "ratio_interval",
    "region_scores",
    "spread_over_groups",
    "spread_over_seeds",
    "together",
    "typed_counts",
    "typed_scores",
]
