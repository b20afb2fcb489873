"""Agreement of objects with types: panoptic quality and F1 by type, and which are mixed up."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from abbe.scoring.arrays import checked_labels
from abbe.scoring.instance import known_objects, overlaps

MATCH = 0.5
"""Objects whose IoU is greater are one and the same."""


@dataclass(frozen=True)
class TypeCounts:
    """What was found of each of K types, in one image or in several together.

    Attributes:
        matched: (K,) true objects that were found, with their type.
        missed: (K,) true objects that were not found, or of another type.
        extra: (K,) found objects of the type that are none of it.
        iou: (K,) sum of the IoU of those matched.
        confusion: (K, K) objects that were found, by their true type (row) and the type that they
            were given.
    """

    matched: np.ndarray
    missed: np.ndarray
    extra: np.ndarray
    iou: np.ndarray
    confusion: np.ndarray

    @property
    def f1(self) -> np.ndarray:
        """(K,) of finding objects with their type; NaN of a type that is nowhere."""
        below = self.matched + (self.missed + self.extra) / 2
        return _ratio(self.matched, below)

    @property
    def pq(self) -> np.ndarray:
        """(K,) panoptic quality by type; NaN of a type that is nowhere."""
        return _ratio(self.iou, self.matched + (self.missed + self.extra) / 2)

    @property
    def accuracy(self) -> float:
        """The share of found objects that were given their type; NaN where none was found."""
        found = self.confusion.sum()
        return float(np.trace(self.confusion) / found) if found else np.nan


def typed_counts(
    prediction: np.ndarray,
    predicted_types: np.ndarray,
    truth: np.ndarray,
    true_types: np.ndarray,
    count: int,
) -> TypeCounts:
    """Compare objects and their types in one image.

    Objects match at an IoU above 0.5, whatever their types, so that each has at most one partner;
    one that has its partner's type is found (as PanNuke and CoNSeP are scored). Objects whose true
    type is not known, and what matches these, do not count; unknown pixels are treated as
    `instance_scores` does.

    Args:
        prediction: (H, W) integer labels, 0 = background.
        predicted_types: (n + 1,) type of each, 1 to ``count``, by its label.
        truth: (H, W) integer labels, 0 = background, −1 = unknown.
        true_types: (m + 1,) likewise; 0 where the type is not known.
        count: How many types there are.

    Raises:
        InputError: not integer label images of one shape.
    """
    valid = checked_labels(prediction, truth, None)
    found, wanted = known_objects(prediction, valid), known_objects(truth, valid)
    pairs = overlaps(found, wanted)
    given = _types_of(found, prediction, predicted_types)
    real = _types_of(wanted, truth, true_types)
    one = pairs.iou > MATCH
    mine, theirs, iou = pairs.predicted[one], pairs.true[one], pairs.iou[one]
    untyped = real[theirs] == 0
    counted = np.ones(len(given), bool)
    counted[mine[untyped]] = False
    mine, theirs, iou = mine[~untyped], theirs[~untyped], iou[~untyped]
    confusion = np.zeros((count + 1, count + 1), np.int64)
    np.add.at(confusion, (real[theirs], given[mine]), 1)
    same = real[theirs] == given[mine]
    matched = np.bincount(real[theirs][same], minlength=count + 1)
    every_true = np.bincount(real, minlength=count + 1)
    every_found = np.bincount(given[counted], minlength=count + 1)
    return TypeCounts(
        matched[1:],
        (every_true - matched)[1:],
        (every_found - matched)[1:],
        np.bincount(real[theirs][same], iou[same], count + 1)[1:],
        confusion[1:, 1:],
    )


def together(counts: Sequence[TypeCounts]) -> TypeCounts:
    """The same of several images, all objects taken together."""
    names = "matched", "missed", "extra", "iou", "confusion"
    return TypeCounts(*(np.sum([getattr(each, name) for each in counts], 0) for name in names))


def typed_scores(counts: TypeCounts) -> dict[str, float]:
    """The scores of one image: means over the types that are in truth or answer, in [0, 1].

    All are NaN where no object has a type.
    """
    pq, f1 = counts.pq, counts.f1
    somewhere = ~np.isnan(f1)
    return {
        "type_pq": float(pq[somewhere].mean()) if somewhere.any() else np.nan,
        "type_f1": float(f1[somewhere].mean()) if somewhere.any() else np.nan,
        "type_accuracy": counts.accuracy,
    }


def _types_of(numbered: np.ndarray, labels: np.ndarray, types: np.ndarray) -> np.ndarray:
    """The type of each object of an image that was numbered anew, from 0."""
    places = np.zeros(int(numbered.max(initial=0)) + 1, np.int64)
    inside = numbered > 0
    places[numbered[inside]] = labels[inside]
    return types[places[1:]]


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    return np.divide(above, below, out=np.full(len(above), np.nan), where=below > 0)
