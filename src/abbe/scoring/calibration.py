"""Whether probabilities mean what they say, and how well they part a class from the others."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from abbe.scoring.classification import Floats, ratio


class Reliability(NamedTuple):
    """How often answers of some confidence are right.

    Attributes:
        confidence: (B,) mean of the highest probability, by bin; bins without images are left out.
        accuracy: (B,) share of them that are right.
        images: (B,) how many there are.
        error: expected calibration error in [0, 1], the mean of |accuracy − confidence| over
            images (Guo et al. 2017, "On calibration of modern neural networks").
    """

    confidence: Floats
    accuracy: Floats
    images: NDArray[np.int64]
    error: float


def reliability(truth: NDArray[np.integer], probabilities: Floats, bins: int = 10) -> Reliability:
    """Sort answers into bins of equal width by their confidence.

    Args:
        truth: (N,) class numbers.
        probabilities: (N, K).
        bins: how many there are between 0 and 1.

    >>> sure = np.array([[0.95, 0.05], [0.95, 0.05]])
    >>> round(reliability(np.array([0, 1]), sure).error, 2)  # right half of the time
    0.45
    """
    confidence = probabilities.max(1)
    right = probabilities.argmax(1) == truth
    number = np.minimum((confidence * bins).astype(int), bins - 1)
    images = np.bincount(number, minlength=bins)
    known = images > 0
    of_bin = (
        np.bincount(number, each, bins)[known] / images[known] for each in (confidence, right)
    )
    confident, accurate = of_bin
    error = float((np.abs(accurate - confident) * images[known]).sum() / len(truth))
    return Reliability(confident, accurate, images[known], error)


def roc(own: NDArray[np.bool_], score: Floats) -> tuple[Floats, Floats]:
    """Of every threshold of ``score``, the share of the others and of the own that reach it.

    Args:
        own: (N,) whether an image is of the class.
        score: (N,) its probability.

    Returns:
        False and true positive rates, ascending from (0, 0) to (1, 1); NaN where there are none.

    >>> others, own = roc(np.array([True, False, True]), np.array([0.9, 0.5, 0.4]))
    >>> others.tolist(), own.tolist()
    ([0.0, 0.0, 1.0, 1.0], [0.0, 0.5, 0.5, 1.0])
    """
    order = np.argsort(-score, kind="stable")
    own, score = own[order], score[order]
    last = np.append(np.flatnonzero(np.diff(score)), len(score) - 1)
    counts = (np.concatenate([[0.0], np.cumsum(each)[last]]) for each in (~own, own))
    others, found = counts
    return ratio(others, np.full_like(others, others[-1])), ratio(
        found, np.full_like(found, found[-1])
    )
