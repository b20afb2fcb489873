"""Students that tell images apart."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from abbe import students
from abbe.datasets import Record, class_numbers
from abbe.exporting.comparison import Images, ParityImage
from abbe.imaging import normalise
from abbe.runs.export_inputs.common import (
    LOOKED_AT,
    NOT_OF_CLASSES,
    ExportInput,
    Source,
    TaskExport,
    calibration_pixels,
    example_of,
    input_of,
    parity_records,
    spread,
    stored,
    task_facts,
    temperature_of,
)
from abbe.runtime.package import Normalisation

MOST_IMAGES = 500
"""Images of the parity check, where nothing else is said: of each one little is seen."""
_MEMORY, _FEWEST = 1 << 30, 16
"""Bytes of these images, all held at once; of large ones there are fewer."""
STRIDE = 32
"""px; tiles of classifiers are multiples of it."""
LARGEST_TILE = 2048
"""px; training images that are larger are classified in tiles of this side."""


def export_input(source: Source) -> ExportInput:
    """The student, what its package says of itself, and images to check it on.

    Raises:
        InputError: Weights or images are missing.
        ConfigError: The pixel size that is stated is not the run's.
    """
    request, dataset = source.request, source.dataset
    network, learned = students.load_classifier(source.run.student)
    classifier = network.classifier if isinstance(network, students.LinearProbe) else network
    probe = ", linear probe" if classifier is not network else ""
    train = spread(source.task.labelled(dataset.split("train")), LOOKED_AT)
    tile = request.tile[0] if request.tile else _tile(train)
    facts = {
        **task_facts(source, learned, train),
        "task": "classification",
        "architecture": f"{classifier.architecture}{probe}",
        **_by_tile(input_of(source.run, learned, network)),
        "divisor": divisor_of(classifier.architecture),
        "classes": classifier.classes,
        "temperature": temperature_of(source.run),
        "tile": tile,
        "halo": 0,
    }
    scaling, channels = facts["normalisation"].scaling, learned["channels"]
    numbers = class_numbers(dataset)
    split, records = parity_records(source, _affordable(facts))
    images = [
        ParityImage(
            record.id,
            normalise(own := stored(record, channels, tile), scaling.limits(own, record.id)),
            category=numbers.get(record.id),
        )
        for record in records
    ]
    calibration = calibration_pixels(dataset, channels, scaling, request)
    example = example_of(request, channels, tile, lambda: stored(records[0], channels, tile))
    return ExportInput(network, facts, Images(images, split, calibration, example))


def divisor_of(architecture: str) -> int:
    """px that the sides of what a classifier sees are multiples of.

    torch exports convolutions for any size; of Swin's windows it needs to know how many there are.
    """
    return STRIDE if "swin" in architecture else 1


def _affordable(facts: Mapping[str, Any]) -> int:
    """How many images fit into the memory."""
    each = 4 * len(facts["channels"]) * facts["tile"] ** 2
    return min(MOST_IMAGES, max(_FEWEST, _MEMORY // each))


def _tile(train: Sequence[Record]) -> int:
    """Side of the largest training image, in whole strides: each is one tile."""
    side = max((max(record.image.open().shape) for record in train), default=LARGEST_TILE)
    return min(math.ceil(side / STRIDE) * STRIDE, LARGEST_TILE)


def _by_tile(seen: dict[str, Any]) -> dict[str, Any]:
    """Percentiles are those of each tile: a classifier learned from images that were tiles."""
    own: Normalisation = seen["normalisation"]
    if own.kind != "percentile":
        return seen
    return seen | {"normalisation": own.model_copy(update={"kind": "tile_percentile"})}


EXPORT = TaskExport(
    export_input, {**NOT_OF_CLASSES, "context": "tiles that are classified have none; leave it out"}
)
