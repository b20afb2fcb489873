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


def fit_temperature(logits: Floats, truth: NDArray[np.integer]) -> float:
    """The temperature T by which logits are divided so that probabilities say most of the truth.

    The least mean of −log softmax(z / T) of the true class (Guo et al. 2017), T from 1/20 to 20.
    The highest probability stays the highest. Above 1 the network was too sure of itself. Of the
    truth 1 / (N + 2) is given to the other classes (Platt 1999), so that a network that is right
    on all of a few images is not taken for one that is never wrong.

    Args:
        logits: (N, K), z; of a map of one class, the columns are 0 and its logit.
        truth: (N,) class numbers.

    >>> logits = np.array([[0.0, 4.0]] * 400)  # sure of 98 %, and right three times of four
    >>> temperature = fit_temperature(logits, np.array([1, 1, 1, 0] * 100))
    >>> round(float(tempered(logits, temperature)[0, 1]), 2)
    0.75
    """
    from scipy.optimize import minimize_scalar

    count, classes = logits.shape
    doubt = 1 / (count + 2)
    target = np.full((count, classes), doubt / (classes - 1))
    target[np.arange(count), truth] = 1 - doubt

    def loss(log_temperature: float) -> float:
        scaled = logits / np.exp(log_temperature)
        scaled = scaled - scaled.max(1, keepdims=True)
        return float((np.log(np.exp(scaled).sum(1)) - (target * scaled).sum(1)).mean())

    found = minimize_scalar(loss, bounds=(-np.log(20), np.log(20)), method="bounded")
    return float(np.exp(found.x))


def tempered(logits: Floats, temperature: float) -> Floats:
    """softmax(z / T) of (N, K) logits."""
    scaled = logits / temperature
    exponents = np.exp(scaled - scaled.max(1, keepdims=True))
    return exponents / exponents.sum(1, keepdims=True)
