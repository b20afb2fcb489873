"""``summary.json``: what a run, or a label-efficiency curve, came to. Written and read here alone.

Every field of the file has a type and a meaning (docs/summary.md lists them). Files of earlier
versions are read, too.
"""

from abbe.summary.common import FILE, FORMAT, TITLES, Summary
from abbe.summary.course import Asked, Speed, Stage, Timing
from abbe.summary.curve import (
    CurveBlock,
    CurveSummary,
    Differences,
    Level,
    LevelGains,
    LevelScores,
    Pretraining,
)
from abbe.summary.part import Bounds, Number, Part
from abbe.summary.reading import read_summary
from abbe.summary.run import BASELINES, SHAPE, Evidence, Probes, RunSummary
from abbe.summary.scores import (
    OBJECTS,
    Calibration,
    Curve,
    Gain,
    Labels,
    Model,
    Score,
    Thresholds,
    TypeScore,
)
from abbe.summary.sources import OWN_DATA, Data, Overlap, Targets, Teacher, Trust

TRAINED_ON = "training-images.txt"
"""In the folder of a run, a package or a target store: digests of what a network was trained on."""
SEEDS = "seeds"
"""The folder, in a run's, of all trainings but those of the first seed."""
PREVIEWS = "previews"
"""The folder, in a run's or a seed's, of pictures drawn on the way: NETWORK-STAGE-STEP.png."""
CURVE_PLAN = "curve.json"
"""In the folder of a label-efficiency curve, and of no run: what it goes through."""

__all__ = [
    "BASELINES",
    "CURVE_PLAN",
    "FILE",
    "FORMAT",
    "OBJECTS",
    "OWN_DATA",
    "PREVIEWS",
    "SEEDS",
    "SHAPE",
    "TITLES",
    "TRAINED_ON",
    "Asked",
    "Bounds",
    "Calibration",
    "Curve",
    "CurveBlock",
    "CurveSummary",
    "Data",
    "Differences",
    "Evidence",
    "Gain",
    "Labels",
    "Level",
    "LevelGains",
    "LevelScores",
    "Model",
    "Number",
    "Overlap",
    "Part",
    "Pretraining",
    "Probes",
    "RunSummary",
    "Score",
    "Speed",
    "Stage",
    "Summary",
    "Targets",
    "Teacher",
    "Thresholds",
    "Timing",
    "Trust",
    "TypeScore",
    "read_summary",
]
