"""Students that tell pixels apart."""

from dataclasses import replace

import numpy as np

from abbe import students
from abbe.exporting.comparison import Images
from abbe.exporting.parity.semantic import LARGEST_SIDE
from abbe.runs.export_inputs.common import (
    NOT_OF_CLASSES,
    ExportInput,
    Source,
    TaskExport,
    calibration_pixels,
    example_of,
    input_of,
    parity_image,
    parity_records,
    stored,
    task_facts,
    temperature_of,
)
from abbe.runtime.package import InstanceRule
from abbe.tasks.semantic import FOREGROUND

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
    least = max(1, source.experiment.evaluation.minimum_area)
    facts = {
        **task_facts(source, learned, source.task.labelled(dataset.split("train"))),
        "task": "regions",
        "architecture": network.architecture,
        **input_of(source.run, learned, network),
        "divisor": network.divisor,
        "classes": network.outputs,
        "temperature": temperature_of(source.run),
        "instances": InstanceRule(rule="components", minimum_area=least),
        "halo": 0,
        **request.tiling(network.divisor, network.reach),
    }
    scaling, channels = facts["normalisation"].scaling, learned["channels"]
    split, records = parity_records(source, IMAGES)
    one = network.outputs[-1] == FOREGROUND
    images = [parity_image(record, channels, scaling, LARGEST_SIDE) for record in records]
    if one:  # whatever is labelled is of one class
        images = [
            each if each.label is None else replace(each, label=np.minimum(each.label, 1))
            for each in images
        ]
    calibration = calibration_pixels(dataset, channels, scaling, request)
    example = example_of(
        request, channels, EXAMPLE_SIDE, lambda: stored(records[0], channels, EXAMPLE_SIDE)
    )
    return ExportInput(network, facts, Images(images, split, calibration, example))


EXPORT = TaskExport(export_input, NOT_OF_CLASSES)
