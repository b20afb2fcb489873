"""Students that tell pixels apart."""

from collections.abc import Sequence

import numpy as np

from abbe import students
from abbe.datasets import Record
from abbe.exporting.comparison import Images, ParityImage
from abbe.exporting.parity.semantic import LARGEST_SIDE
from abbe.imaging import Scaling
from abbe.runs.export_inputs.common import (
    NOT_OF_CLASSES,
    ExportInput,
    Source,
    TaskExport,
    calibration_pixels,
    example_of,
    input_of,
    middle,
    parity_records,
    pixels_of,
    stored,
    task_facts,
)
from abbe.runtime.package import InstanceRule
from abbe.tasks.semantic import FOREGROUND, Semantic

IMAGES = 48
"""Images of the parity check, where nothing else is said."""
EXAMPLE_SIDE = 256
"""px of the package's test image."""


def export_input(source: Source) -> ExportInput:
    """The student, what its package says of itself, and images to check it on.

    Raises:
        InputError: Weights or images are missing.
        ConfigError: The pixel size that is stated is not the run's.
    """
    request, dataset = source.request, source.dataset
    network, learned = students.load(source.run.student)
    labelled = Semantic().labelled
    least = max(1, source.experiment.evaluation.minimum_area)
    facts = {
        **task_facts(source, learned, labelled(dataset.split("train"))),
        "task": "regions",
        "architecture": network.architecture,
        **input_of(source.run, learned, network),
        "divisor": network.divisor,
        "classes": network.outputs,
        "instances": InstanceRule(rule="components", minimum_area=least),
        "halo": 0,
        **request.tiling(network.divisor),
    }
    scaling, channels = facts["normalisation"].scaling, learned["channels"]
    split, records = parity_records(dataset, request.images or IMAGES, labelled)
    one = network.outputs[-1] == FOREGROUND
    images = [_parity_image(record, channels, scaling, one) for record in records]
    calibration = calibration_pixels(dataset, channels, scaling, request)
    example = example_of(
        request, channels, EXAMPLE_SIDE, lambda: stored(records[0], channels, EXAMPLE_SIDE)
    )
    return ExportInput(network, facts, Images(images, split, calibration, example))


def _parity_image(
    record: Record, channels: Sequence[str], scaling: Scaling, one: bool
) -> ParityImage:
    """An image with the class of each pixel; ``one``: whatever is labelled is of one class."""
    pixels = pixels_of(record, channels, scaling, LARGEST_SIDE)
    if record.label is None:
        return ParityImage(record.id, pixels)
    label = middle(record.label.read(), LARGEST_SIDE)
    return ParityImage(record.id, pixels, np.minimum(label, 1) if one else label)


EXPORT = TaskExport(export_input, NOT_OF_CLASSES)
