"""How images reach the student: decided once a run, before it trains, and kept with it."""

from collections.abc import Sequence

import numpy as np

from abbe import config
from abbe.config import EARLIER_INPUT
from abbe.datasets import Dataset, Record
from abbe.imaging import PERCENTILE, Scaling, ScalingKind
from abbe.registry import traits_of
from abbe.runs import folder as run_folder

LOOKED_AT = 48
"""Training images that are looked at, evenly spaced."""
FILLED, MOST = 0.5, 0.9
"""8-bit grey pictures fill their range where so many of them reach so far up (percentile 99.8)."""
_COLOURS = ("red", "green", "blue")
_GREY = ("grey", "gray")


def decided(
    experiment: config.Experiment, dataset: Dataset, *, scales_images: bool = True
) -> config.Experiment:
    """The experiment with a normalisation in the place of ``auto``.

    A run that was begun goes on as it was: of an earlier version by percentiles, and without the
    mean and deviation of its encoder's weights.

    Args:
        experiment: As the user gives it.
        dataset: With the student's channels.
        scales_images: Whether the task has images scaled at all.

    Raises:
        InputError: An image cannot be read.
    """
    student, teacher = experiment.student, experiment.teacher
    if student.normalisation != "auto" or not scales_images:
        return experiment
    before = run_folder.begun(experiment.out)
    if before is not None:  # it stays as it was, even if images were added
        changes = {"normalisation": before.student.normalisation}
        earlier = all(getattr(before.student, key) == EARLIER_INPUT[key] for key in EARLIER_INPUT)
        if earlier and student.encoder_mean is None:
            changes = EARLIER_INPUT
    elif teacher.live and (fixed := traits_of(teacher.kind).normalisation):
        changes = {"normalisation": fixed}  # the teacher sees the student's crops
    else:
        changes = {"normalisation": usual(dataset, student.input_channels)}
    return experiment.model_copy(update={"student": student.model_copy(update=changes)})


def usual(dataset: Dataset, input_channels: Sequence[str]) -> ScalingKind:
    """``range`` for 8-bit pictures, ``percentile`` for everything else.

    Pictures are red, green and blue together, whose white means something; and one channel that
    is called grey, where nine of ten images reach half of the range. So ultrasound and bright field
    are pictures, and dark 8-bit fluorescence is stretched.

    Args:
        dataset: Its training images are looked at, or all where there is none.
        input_channels: Channels that the student sees.

    Raises:
        InputError: An image cannot be read.
    """
    names = [name.lower() for name in input_channels]
    colours, grey = sorted(names) == sorted(_COLOURS), len(names) == 1 and names[0] in _GREY
    if not (colours or grey):
        return "percentile"
    records = dataset.split("train").records or dataset.records
    places = np.linspace(0, len(records) - 1, min(len(records), LOOKED_AT))
    chosen = [records[round(place)] for place in places]
    if any(record.image.open().dtype != np.uint8 for record in chosen):
        return "percentile"
    if colours:
        return "range"
    filled = [_top(record, input_channels) >= FILLED * 255 for record in chosen]
    return "range" if np.mean(filled) >= MOST else "percentile"


def _top(record: Record, input_channels: Sequence[str]) -> float:
    return float(PERCENTILE.image_limits(record.image.open(), input_channels)[:, 1].max())


def scaling_of(student: config.Student) -> Scaling:
    """How the student's images become values from 0 to 1; see `decided`."""
    assert student.normalisation != "auto", "decided before anything is trained"
    return Scaling(student.normalisation)
