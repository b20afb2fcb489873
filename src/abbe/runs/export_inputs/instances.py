"""Students that find objects by foreground and boundary."""

import math
from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from abbe import students
from abbe.datasets import Record
from abbe.exporting.comparison import Images, ParityImage
from abbe.exporting.parity.instances import LARGEST_SIDE
from abbe.object_types import types_in
from abbe.runs import build
from abbe.runs.export_inputs.common import (
    ExportInput,
    Source,
    TaskExport,
    calibration_pixels,
    example_of,
    input_of,
    middle,
    origin,
    parity_image,
    parity_records,
    spread,
    stored,
    temperature_of,
)
from abbe.runtime.package import InstanceRule, Thresholds
from abbe.runtime.postprocess.diameters import diameters_of

IMAGES = 48
"""Images of the parity check, where nothing else is said."""
SMALLEST_HALO = 64
MEASURED = 1000
"""Training labels from which the usual diameter is taken."""
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
    channels = learned["channels"]
    build.check_channels(dataset, channels, "the student")
    split, records = parity_records(source, IMAGES)
    seen = input_of(source.run, learned, network)
    scaling = seen["normalisation"].scaling
    calibration = calibration_pixels(dataset, channels, scaling, request)
    images = [parity_image(record, channels, scaling, LARGEST_SIDE) for record in records]
    least = max(1, source.experiment.evaluation.minimum_area)
    facts = {
        **origin(source, learned),
        "task": "segmentation",
        "architecture": network.architecture,
        "channels": tuple(channels),
        "pixel_size": request.stated(learned["pixel_size"]),
        "object_diameter": _object_diameter(source.task.labelled(dataset.split("train"))),
        **seen,
        "divisor": network.divisor,
        "outputs": network.outputs,
        "classes": types_in(network.outputs),
        "temperature": temperature_of(source.run, network.outputs),
        "thresholds": Thresholds(**source.run.summary.thresholds[source.run.network].model_dump()),
        "instances": InstanceRule(minimum_area=least),
        "halo": _halo(images, network.divisor) if request.halo is None else request.halo,
        **request.tiling(network.divisor, network.reach),
    }
    example = example_of(request, channels, EXAMPLE_SIDE, lambda: _example(records, channels))
    return ExportInput(network, facts, Images(images, split, calibration, example))


def _object_diameter(records: Sequence[Record]) -> float | None:
    """Median equivalent diameter of the objects in the labels of training images, px."""
    diameters = [
        diameters_of(label.read())
        for record in spread(records, MEASURED)
        if (label := record.label) is not None
    ]
    found = np.concatenate(diameters) if diameters else np.empty(0)
    return round(float(np.median(found)), 2) if len(found) else None


def _example(records: Sequence[Record], channels: Sequence[str]) -> np.ndarray:
    """As stored: the middle of the image that has the most labelled px there."""

    def covered(record: Record) -> int:
        if record.label is None:
            return 0
        return int(np.count_nonzero(middle(record.label.read(), EXAMPLE_SIDE) > 0))

    record = max(records, key=covered)
    return stored(record, channels, EXAMPLE_SIDE)


def _halo(images: Sequence[ParityImage], divisor: int) -> int:
    """The extent of the largest labelled objects (99th percentile), in whole divisors."""
    extents = [
        max(part.stop - part.start for part in box)
        for image in images
        if image.label is not None
        for box in ndimage.find_objects(np.maximum(image.label, 0))
        if box is not None
    ]
    extent = float(np.percentile(extents, 99)) if extents else SMALLEST_HALO
    return math.ceil(max(extent, SMALLEST_HALO) / divisor) * divisor


EXPORT = TaskExport(export_input)
