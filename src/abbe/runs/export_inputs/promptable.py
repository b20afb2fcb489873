"""Students that answer prompts."""

from typing import Any

import numpy as np

from abbe import students
from abbe.datasets import Record
from abbe.datasets.training.eval_prompts import objects_of
from abbe.exporting.parity.promptable import ParityPicture, Pictures
from abbe.imaging import choose_rule, three_channels
from abbe.runs.export_inputs.common import (
    ExportInput,
    Source,
    TaskExport,
    calibration_records,
    origin,
    parity_records,
    spread,
)
from abbe.runs.export_inputs.instances import IMAGES
from abbe.students.promptable import architecture_of

MOST_OBJECTS = 8
"""Objects of an image that the package is asked for in its parity check."""
CALIBRATED = 32
"""Training images that int8 ranges are measured on, at most: at 1024 px each takes 13 MB."""


def export_input(source: Source) -> ExportInput:
    """The student, what its package says of itself, and pictures to check it on.

    Raises:
        InputError: Weights or images are missing.
    """
    request, dataset = source.request, source.dataset
    split, records = parity_records(source, IMAGES)
    calibration = spread(calibration_records(dataset, request), CALIBRATED)
    network, learned = students.load_promptable(source.run.student)
    facts = {
        **origin(source, learned),
        "task": "promptable",
        "architecture": architecture_of(network)[0],
        "channels": tuple(learned["channels"]),
        "three_channels": learned["inputs"],
        "pixel_size": None,
        "image_size": (network.side, network.side),
        "divisor": 16,
        "tile": network.side,
        "halo": 0,
    }
    pictures = [_picture(record, learned) for record in records]
    shown = [_shown(record, learned) for record in calibration]
    return ExportInput(network, facts, Pictures(pictures, split, shown))


def _picture(record: Record, learned: dict[str, Any]) -> ParityPicture:
    """The image as the network is shown it, with a box and a point for each of its objects."""
    picture = _shown(record, learned)
    objects = [] if record.label is None else objects_of(record.label.read())[:MOST_OBJECTS]
    prompts: list[dict[str, Any]] = []
    truths: list[np.ndarray] = []
    for each in objects:
        prompts += [{"box": each.box}, _click(each.points(1))]
        truths += [each.whole] * 2
    if not prompts:  # nothing is labelled: the middle is as good a question as any
        height, width = picture.shape[:2]
        middle = [width / 4, height / 4, 3 * width / 4, 3 * height / 4]
        prompts = [{"box": middle}, _click([[width / 2, height / 2]])]
    return ParityPicture(record.id, picture, tuple(prompts), tuple(truths))


def _shown(record: Record, learned: dict[str, Any]) -> np.ndarray:
    """The image in three channels, (H, W, 3) uint8, as the network is shown it."""
    pixels = record.image.open().read(channels=tuple(learned["channels"]))
    return three_channels(pixels, choose_rule(learned["inputs"], len(pixels)))


def _click(points: Any) -> dict[str, Any]:
    return {"point_coords": points, "point_labels": [1] * len(points)}


EXPORT = TaskExport(
    export_input,
    dict.fromkeys(
        ("budget_ms", "tile", "halo", "context", "pixel_size", "bioimageio", "torchscript"),
        "not for a promptable package, which sees each image whole. Leave it out",
    )
    | {"example": "a promptable package shows a picture with its prompts; leave it out"},
)
