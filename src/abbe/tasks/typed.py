"""Types of objects, scored: what the truth says, what a model answers, and what that comes to."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from abbe import scoring
from abbe.datasets import Dataset, Record
from abbe.datasets.training.prepare import Prepared, types_of
from abbe.errors import InputError
from abbe.runtime.postprocess.types import majority_types, object_types
from abbe.scoring import TypeCounts
from abbe.summary import TypeScore
from abbe.tasks.maps import Maps

FEW = 10
"""Training objects of a type below which a line warns of it."""


def true_types(record: Record, dataset: Dataset, names: Sequence[str]) -> np.ndarray | None:
    """The types of a test image's true objects, by their labels; None where none is known.

    Args:
        record: of the image, with a label.
        dataset: whose classes number the picture of types.
        names: of the types that models tell apart.

    Raises:
        InputError: the data set's classes are others, or the picture does not fit the label.
    """
    if record.types is None or record.label is None:
        return None
    if unknown := [name for name in names if name not in dataset.classes]:
        raise InputError(
            f"data set '{dataset.name}': its objects are of the types {', '.join(dataset.classes)}"
            f"; the network also tells {', '.join(unknown)}. Name them alike (data.classes)"
        )
    numbers = types_of(record, record.image.open(), names, dataset.classes)
    assert numbers is not None  # there is a picture
    return majority_types(record.label.read(), numbers, len(names))


def counts_of(
    maps: Maps,
    objects: np.ndarray,
    truth: np.ndarray,
    types: np.ndarray | None,
    names: Sequence[str],
) -> TypeCounts | None:
    """How a model's objects and types agree with the truth; None where one tells no types.

    Args:
        maps: the model's answer.
        objects: (H, W) that are found in it.
        truth: (H, W) labels.
        types: of the true objects, by `true_types`.
        names: of the types.
    """
    if types is None or maps.types is None or set(maps.type_names) != set(names):
        return None
    order = [maps.type_names.index(name) for name in names]
    answered = object_types(objects, maps.types[order]).argmax(1) + 1
    return scoring.typed_counts(objects, answered, truth, types, len(names))


def scores_of(counts: TypeCounts | None) -> dict[str, float]:
    """The scores of one image; NaN where no types are told."""
    if counts is None:
        return dict.fromkeys(scoring.TYPE_METRICS, np.nan)
    return scoring.typed_scores(counts)


def details(
    counts: Mapping[str, Sequence[TypeCounts]], names: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """By model, all test images together: each type's scores, and which are mixed up."""
    found: dict[str, dict[str, Any]] = {}
    for model, images in counts.items():
        total = scoring.together(images)
        scores = {
            name: TypeScore(
                objects=int(total.matched[k] + total.missed[k]),
                found=int(total.matched[k]),
                extra=int(total.extra[k]),
                pq=_number(total.pq[k]),
                f1=_number(total.f1[k]),
            )
            for k, name in enumerate(names)
        }
        found[model] = {"types": scores, "type_confusion": total.confusion.tolist()}
    return found


def tell_few(images: Sequence[Prepared], names: Sequence[str]) -> list[str]:
    """What to say of types that few training objects have.

    Raises:
        InputError: no training object has a type.
    """
    totals = np.zeros(len(names) + 1, np.int64)
    for image in images:
        if image.types is not None and image.label is not None:
            own = majority_types(image.label, image.types, len(names))
            totals += np.bincount(own[1:], minlength=len(names) + 1)
    if not totals[1:].any():
        raise InputError(
            "student.types: no object of a labelled training image has one of the types "
            f"{', '.join(names)}, so they cannot be learned"
        )
    return [
        f"type '{name}': {count} of the {totals[1:].sum():,} training objects with a type; what is "
        "learned of it is little, and its scores say little"
        for name, count in zip(names, totals[1:].tolist(), strict=True)
        if count < FEW
    ]


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
