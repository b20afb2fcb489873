"""Agreement of two label images object by object: F1, mean AP, PQ, AJI.

All comes from one sparse table of the pixels that each pair of objects shares.
"""

from dataclasses import dataclass

import fastremap
import numpy as np
from scipy import sparse

from abbe.scoring.arrays import checked_labels

F1_THRESHOLDS = tuple(k / 10 for k in range(5, 10))
AP_THRESHOLDS = tuple(k / 20 for k in range(10, 20))


def instance_scores(
    prediction: np.ndarray, truth: np.ndarray, valid: np.ndarray | None = None
) -> dict[str, float]:
    """Compare two label images object by object.

    A true and a predicted object match at threshold t if their IoU is greater than t. From 0.5 on
    each object then has at most one partner (Kirillov et al., CVPR 2019), so no assignment is
    needed. With TP matches, FP predicted and FN true objects without one:

    - ``f1@0.5`` … ``f1@0.9``: TP / (TP + FP/2 + FN/2).
    - ``mean_ap``: TP / (TP + FP + FN), mean over t = 0.5, 0.55, … 0.95, the measure of the 2018
      Data Science Bowl (Caicedo et al., Nature Methods 2019); not the area under a curve.
    - ``pq`` = ``sq`` × ``rq``: panoptic quality at t = 0.5; ``sq`` is the mean IoU of the matches,
      0 without any; ``rq`` equals ``f1@0.5``.
    - ``aji``: aggregated Jaccard index (Kumar et al., IEEE TMI 2017). Each true object takes the
      prediction of the highest IoU, also one already taken. Of several such it takes that of
      the larger overlap, then the first in reading order.

    If neither image has an object all are 1, if only one has all are 0. Without a valid pixel all
    are NaN. An object with more than half of its pixels unknown is left out, whichever image it
    is in; of the others only the valid pixels count.

    Args:
        prediction: (H, W) integer labels, 0 = background.
        truth: (H, W) integer labels, 0 = background, −1 = unknown.
        valid: (H, W) bool, False where the truth is unknown, besides −1; None: known everywhere.

    Returns:
        The scores, each in [0, 1].

    Raises:
        InputError: not integer label images of one shape.

    One of two objects is found, and its outline is right:

    >>> scores = instance_scores(np.array([[1, 1, 0, 0, 0]]), np.array([[1, 1, 0, 2, 2]]))
    >>> round(scores["pq"], 2), scores["sq"], round(scores["f1@0.5"], 2)
    (0.67, 1.0, 0.67)
    """
    valid = checked_labels(prediction, truth, valid)
    names = [*(f"f1@{t}" for t in F1_THRESHOLDS), "mean_ap", "pq", "sq", "rq", "aji"]
    if not valid.any():
        return dict.fromkeys(names, np.nan)
    pairs = overlaps(known_objects(prediction, valid), known_objects(truth, valid))
    if pairs.found == pairs.wanted == 0:
        return dict.fromkeys(names, 1.0)
    rq, sq = pairs.f1(0.5), pairs.mean_iou_of_matches(0.5)
    return {
        **{f"f1@{t}": pairs.f1(t) for t in F1_THRESHOLDS},
        "mean_ap": float(np.mean([pairs.average_precision(t) for t in AP_THRESHOLDS])),
        "pq": sq * rq,
        "sq": sq,
        "rq": rq,
        "aji": pairs.aggregated_jaccard(),
    }


@dataclass(frozen=True)
class Pairs:
    """The overlapping pairs of objects, as parallel arrays; objects are numbered from 0."""

    predicted: np.ndarray  # number of the predicted object
    true: np.ndarray  # number of the true object
    overlap: np.ndarray  # px
    union: np.ndarray  # px
    predicted_area: np.ndarray  # px, of every predicted object
    true_area: np.ndarray  # px, of every true object

    @property
    def found(self) -> int:
        """How many objects were predicted."""
        return self.predicted_area.size

    @property
    def wanted(self) -> int:
        """How many objects there are."""
        return self.true_area.size

    @property
    def iou(self) -> np.ndarray:
        """Of each pair."""
        return self.overlap / self.union

    def matches(self, threshold: float) -> int:
        """Pairs above an IoU."""
        return int(np.count_nonzero(self.iou > threshold))

    def f1(self, threshold: float) -> float:
        """At an IoU."""
        return 2 * self.matches(threshold) / (self.found + self.wanted)

    def average_precision(self, threshold: float) -> float:
        """TP / (TP + FP + FN) at an IoU."""
        matches = self.matches(threshold)
        return matches / (self.found + self.wanted - matches)

    def mean_iou_of_matches(self, threshold: float) -> float:
        """0 without any."""
        matched = self.iou[self.iou > threshold]
        return float(matched.mean()) if matched.size else 0.0

    def aggregated_jaccard(self) -> float:
        """The aggregated Jaccard index."""
        order = np.lexsort((self.predicted, -self.overlap, -self.iou, self.true))
        true, first = np.unique(self.true[order], return_index=True)
        best = order[first]
        missed = self.true_area.sum() - self.true_area[true].sum()
        taken = np.unique(self.predicted[best])
        unused = self.predicted_area.sum() - self.predicted_area[taken].sum()
        return float(self.overlap[best].sum() / (self.union[best].sum() + missed + unused))


def known_objects(labels: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Labels numbered 1…n in reading order, 0 at unknown pixels; mostly unknown objects left out.

    Labels may be any integers, so they are numbered before anything is counted.
    """
    if valid.all():
        return _renumbered(labels)
    everything = _renumbered(np.maximum(labels, 0))
    area = np.bincount(everything.ravel())
    known_area = np.bincount(everything[valid], minlength=area.size)
    kept = 2 * known_area >= area
    return _renumbered(np.where(kept[everything] & valid, everything, 0))


def _renumbered(labels: np.ndarray) -> np.ndarray:
    return fastremap.renumber(np.ascontiguousarray(labels), preserve_zero=True)[0].astype(
        np.int32, copy=False
    )


def overlaps(prediction: np.ndarray, truth: np.ndarray) -> Pairs:
    """The table of overlaps of two label images numbered 1…n."""
    predicted_area = np.bincount(prediction.ravel())[1:]
    true_area = np.bincount(truth.ravel())[1:]
    shared = np.flatnonzero((prediction > 0) & (truth > 0))
    predicted, true = prediction.ravel()[shared] - 1, truth.ravel()[shared] - 1
    # Building a compressed matrix adds up equal entries in linear time, without sorting pixels.
    counts = sparse.coo_array(
        (np.ones(shared.size, np.int64), (true, predicted)),
        shape=(true_area.size, predicted_area.size),
    )
    table = counts.tocsr().tocoo()
    rows, columns = table.coords
    union = true_area[rows] + predicted_area[columns] - table.data
    return Pairs(columns, rows, table.data, union, predicted_area, true_area)
