"""How well images are classified: accuracy, balanced accuracy, macro F1 and AUROC."""

import warnings
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from abbe.errors import InputError
from abbe.scoring.names import Metric

Floats = NDArray[np.float64]

CLASSIFICATION_METRICS: dict[str, Metric] = {
    "balanced_accuracy": Metric("Balanced accuracy", True),
    "accuracy": Metric("Accuracy", True),
    "macro_f1": Metric("Macro F1", True),
    "auroc": Metric("AUROC, one against the rest", True),
}

_CELLS = 1 << 23
"""Numbers of a table that are held at once."""


def classification_scores(
    truth: NDArray[np.integer], probabilities: Floats, counts: Floats | None = None
) -> dict[str, Floats]:
    """The scores of a set of images, and of R resamples of it at once.

    ``accuracy``; ``balanced_accuracy``, the mean recall of the classes that occur, undefined where
    that is one class alone, for nothing was to be told apart; ``macro_f1``,
    the mean of 2 TP / (2 TP + FP + FN) over classes that occur or are answered; ``auroc``, the mean
    over classes of how probable it is that an image of the class gets a higher probability of it
    than an image of another class, ties counted half (Hanley and McNeil 1982). A class without
    images, or to which all images belong, has no AUROC and is left out of that mean.

    Args:
        truth: (N,) class numbers in [0, K).
        probabilities: (N, K); the answer is the class of the largest.
        counts: (R, N) how often each image counts, see `abbe.scoring.draw_counts`; each once if
            None.

    Returns:
        By metric (R,), or (1,) without counts; NaN where undefined.

    Raises:
        InputError: shapes do not fit, a number is no class, or a probability is not finite.
    """
    truth, probabilities = np.asarray(truth), np.asarray(probabilities, dtype=np.float64)
    _check(truth, probabilities)
    if counts is None:
        counts = np.ones((1, len(truth)))
    classes = probabilities.shape[1]
    pair = truth * classes + probabilities.argmax(1)
    pairs = np.stack([np.bincount(pair, often, classes**2) for often in counts])
    confusion = pairs.astype(np.float64).reshape(-1, classes, classes)
    right = np.diagonal(confusion, axis1=1, axis2=2)
    true, answered = confusion.sum(2), confusion.sum(1)
    several = np.count_nonzero(true, axis=1) > 1
    return {
        "balanced_accuracy": np.where(several, mean_of_defined(ratio(right, true)), np.nan),
        "accuracy": ratio(right.sum(1), true.sum(1)),
        "macro_f1": mean_of_defined(ratio(2 * right, true + answered)),
        "auroc": _in_parts(lambda part: _auroc(truth, probabilities, part), counts),
    }


class ClassScores(NamedTuple):
    """How well each class is told from the others, (K,) each; NaN where undefined.

    Attributes:
        precision: share of the images answered as the class that are of it.
        recall: share of the images of the class that are answered as it.
        f1: 2 TP / (2 TP + FP + FN).
    """

    precision: Floats
    recall: Floats
    f1: Floats


def class_confusion(truth: NDArray[np.integer], probabilities: Floats) -> NDArray[np.int64]:
    """How many images of each class were answered as which.

    Args:
        truth: (N,) class numbers in [0, K).
        probabilities: (N, K); the answer is the class of the largest.

    Returns:
        (K, K), a row each true class, a column each answer.

    Raises:
        InputError: as `classification_scores`.
    """
    truth, probabilities = np.asarray(truth), np.asarray(probabilities, dtype=np.float64)
    _check(truth, probabilities)
    table = np.zeros((probabilities.shape[1],) * 2, np.int64)
    np.add.at(table, (truth, probabilities.argmax(1)), 1)
    return table


def class_scores(confusion: NDArray[np.integer]) -> ClassScores:
    """Precision, recall and F1 of each class.

    Args:
        confusion: (K, K) of `class_confusion`.
    """
    table = np.asarray(confusion, np.float64)
    right, true, answered = np.diagonal(table), table.sum(1), table.sum(0)
    return ClassScores(
        ratio(right, answered), ratio(right, true), ratio(2 * right, true + answered)
    )


def _auroc(truth: NDArray[np.integer], probabilities: Floats, counts: Floats) -> Floats:
    classes = probabilities.shape[1]
    areas = []
    # Of two classes, one's area is the other's; only rounding could tell them apart.
    for number in range(classes) if classes > 2 else (classes - 1,):
        order = np.argsort(probabilities[:, number], kind="stable")
        values = probabilities[order, number]
        ties = np.flatnonzero(np.r_[True, values[1:] != values[:-1]])
        own = (truth == number)[order]
        positive = np.add.reduceat(counts[:, order] * own, ties, axis=1)
        negative = np.add.reduceat(counts[:, order] * ~own, ties, axis=1)
        below = np.cumsum(negative, axis=1) - negative
        pairs = positive.sum(1) * negative.sum(1)
        areas.append(ratio((positive * (below + negative / 2)).sum(1), pairs))
    return mean_of_defined(np.stack(areas, axis=1))


def _in_parts(score: Callable[[Floats], Floats], counts: Floats) -> Floats:
    """Score the resamples some at a time, so that large sets fit into memory."""
    rows = max(1, _CELLS // max(1, counts.shape[1]))
    parts = [score(counts[start : start + rows]) for start in range(0, len(counts), rows)]
    return np.concatenate(parts) if parts else np.empty(0)


def ratio(above: Floats, below: Floats) -> Floats:
    """Elementwise, NaN where divided by 0."""
    return np.divide(above, below, out=np.full(above.shape, np.nan), where=below > 0)


def mean_of_defined(values: Floats) -> Floats:
    """The mean of each row without its NaN; NaN where there is nothing else."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a mean of nothing is NaN, as is said
        return np.nanmean(values, axis=1)


def _check(truth: NDArray[np.integer], probabilities: Floats) -> None:
    if probabilities.ndim != 2 or truth.shape != probabilities[:, 0].shape or not truth.size:
        raise InputError(
            f"truth must be (N,) and probabilities (N, K) with images in them, but they are "
            f"{truth.shape} and {probabilities.shape}"
        )
    if not np.issubdtype(truth.dtype, np.integer) or truth.min() < 0:
        raise InputError("truth must be class numbers from 0 on")
    if truth.max() >= probabilities.shape[1]:
        raise InputError(
            f"truth holds the class {truth.max()}, but there are probabilities of "
            f"{probabilities.shape[1]} classes only"
        )
    if not np.isfinite(probabilities).all():
        raise InputError("a probability is not a finite number")
