"""How sure a score is: the jackknife over images, or over groups of them, and Student's t.

Images of one patient, slide or video are alike, so where groups are known whole groups are left
out, one at a time: how far the score moves says how sure it is (Efron and Stein 1981, "The
jackknife estimate of variance"). It serves means, their ratios, and scores of a whole set such as
balanced accuracy alike.

The degrees of freedom are the effective number of groups less one, (Σ n)² / Σ n² − 1 for groups of
n images (Kish 1965, "Survey Sampling", §11.7), which is the number of groups less one where all are
as large. Limits of scores from 0 to 1 are found on the logit scale, those of positive numbers on
the logarithmic one, so that they are never outside and as skewed as such scores are. How often the
limits hold the truth is in docs/statistics.md.

With fewer than `MINIMUM_GROUPS` groups, or where one group holds nearly all images, nothing can be
said about the spread: the limits (and p) are NaN. An image where a score is NaN (undefined) is left
out, of both arms of a comparison; ``n`` is the number of images that remain. Without any image the
score is NaN too.
"""

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtr, stdtrit

from abbe.errors import InputError
from abbe.in_words import counted

CONFIDENCE = 0.95
MINIMUM_GROUPS = 3
"""Groups, or images that stand alone, below which there is no interval."""

Floats = NDArray[np.float64]
Scale = Literal["share", "positive", "plain"]
"""What values a score can have: 0 to 1, 0 and above, or any."""


class Interval(NamedTuple):
    """A score with its 95 % interval; ``n`` images."""

    mean: float
    low: float
    high: float
    n: int


class Difference(NamedTuple):
    """A difference of two scores with its 95 % interval and two-sided p; ``n`` images."""

    mean: float
    low: float
    high: float
    p: float
    n: int


class Spread(NamedTuple):
    """The variance of a score and its degrees of freedom; both NaN where nothing is known."""

    variance: float
    freedom: float


def mean_interval(
    values: ArrayLike, groups: Sequence[object] | None = None, *, scale: Scale = "share"
) -> Interval:
    """The mean of one score over images, with its 95 % interval.

    >>> mean_interval([0.91, 0.88, 0.95, 0.90, 0.62])
    Interval(mean=0.852, low=0.610..., high=0.954..., n=5)

    Args:
        values: (N,) one score an image; NaN where undefined.
        groups: (N,) the group of each image (patient, slide …); None: every image by itself.
        scale: what values the score can have.

    Raises:
        InputError: no 1-D numbers, an infinite score, or not one group for each image.
    """
    (kept,), units = _complete([values], groups)
    return interval_of(_mean(kept), _spread_of_mean(kept, units), kept.size, scale)


def paired_difference(
    first: ArrayLike, second: ArrayLike, groups: Sequence[object] | None = None
) -> Difference:
    """The mean of ``first − second`` over the images that both have a score for.

    Args:
        first: (N,) one score an image, say the student's; NaN where undefined.
        second: (N,) the other's scores on the same images in the same order, say the twin's.
        groups: (N,) the group of each image; None: every image by itself.

    Raises:
        InputError: no 1-D numbers of one length, an infinite score, or not one group an image.
    """
    (a, b), units = _complete([first, second], groups)
    difference = a - b
    return difference_of(_mean(difference), _spread_of_mean(difference, units), a.size)


def ratio_interval(
    first: ArrayLike, second: ArrayLike, groups: Sequence[object] | None = None
) -> Interval:
    """mean(first) / mean(second) over the images that both have a score for (retention).

    Where mean(second) is 0 the ratio is NaN; where it is 0 with a group left out, the limits are.

    Args:
        first: (N,) one score an image, say the student's; NaN where undefined.
        second: (N,) the scores of what it is held against, say the teacher's.
        groups: (N,) the group of each image; None: every image by itself.

    Raises:
        InputError: no 1-D numbers of one length, an infinite score, or not one group an image.
    """
    (a, b), units = _complete([first, second], groups)
    if _mean(b) == 0:
        return Interval(np.nan, np.nan, np.nan, a.size)
    sums, below = (np.bincount(units, arm) for arm in (a, b))
    rest = below.sum() - below
    left_out = np.divide(sums.sum() - sums, rest, out=np.full(rest.shape, np.nan), where=rest > 0)
    spread = Spread(np.nan, np.nan)
    if not np.isnan(left_out).any():
        spread = spread_over_groups(left_out, np.bincount(units))
    return interval_of(_mean(a) / _mean(b), spread, a.size, "positive")


def spread_over_groups(left_out: ArrayLike, sizes: ArrayLike) -> Spread:
    """How sure a score is, from what it is without each of the groups.

    A group without which the score is undefined (NaN: no other has its class) tells nothing.

    Args:
        left_out: (G,) the score without each group.
        sizes: (G,) the images of each group.
    """
    scores, images = np.asarray(left_out, np.float64), np.asarray(sizes, np.float64)
    told = ~np.isnan(scores)
    scores, images = scores[told], images[told]
    count = scores.size
    freedom = images.sum() ** 2 / (images**2).sum() - 1 if count else 0.0
    if count < MINIMUM_GROUPS or freedom < 1:
        return Spread(np.nan, np.nan)
    deviations = scores - scores.mean()
    deviations[np.abs(deviations) < 1e-12] = 0.0  # rounding is no spread
    return Spread(float((count - 1) / count * (deviations**2).sum()), float(freedom))


def interval_of(value: float, spread: Spread, n: int, scale: Scale) -> Interval:
    """A score with its 95 % limits, found on the scale that suits its values.

    Args:
        value: the score.
        spread: how sure it is.
        n: number of images.
        scale: what values the score can have.
    """
    half = _half_width(spread)
    if scale == "share" and 0 < value < 1:
        middle, half = math.log(value / (1 - value)), half / (value * (1 - value))
        return Interval(value, _logistic(middle - half), _logistic(middle + half), n)
    if scale == "positive" and value > 0:
        factor = float(np.exp(half / value))
        return Interval(value, value / factor, value * factor, n)
    return Interval(value, value - half, value + half, n)


def difference_of(value: float, spread: Spread, n: int) -> Difference:
    """A difference of two scores with its 95 % limits, and p by Student's t.

    Args:
        value: the difference.
        spread: how sure it is.
        n: number of images.
    """
    half = _half_width(spread)
    p = np.nan
    if spread.variance > 0:
        p = float(2 * stdtr(spread.freedom, -abs(value) / math.sqrt(spread.variance)))
    elif spread.variance == 0:  # every group says the same
        p = float(value == 0)
    return Difference(value, value - half, value + half, p, n)


def _half_width(spread: Spread) -> float:
    quantile = stdtrit(spread.freedom, (1 + CONFIDENCE) / 2)
    return float(quantile * np.sqrt(spread.variance))


def _logistic(x: float) -> float:
    return float(1 / (1 + np.exp(-x)))


def _spread_of_mean(values: Floats, units: NDArray[np.intp]) -> Spread:
    sums, sizes = np.bincount(units, values), np.bincount(units)
    if sizes.size < 2:
        return Spread(np.nan, np.nan)
    return spread_over_groups((sums.sum() - sums) / (sizes.sum() - sizes), sizes)


def _complete(
    arms: Sequence[ArrayLike], groups: Sequence[object] | None
) -> tuple[list[Floats], NDArray[np.intp]]:
    """The arms without images where any is NaN, and for each image the number of its group."""
    scores = [np.asarray(arm, dtype=np.float64) for arm in arms]
    size = scores[0].size
    if any(arm.shape != (size,) for arm in scores):
        shapes = " and ".join(str(arm.shape) for arm in scores)
        raise InputError(f"scores must be flat lists with one number an image; got shapes {shapes}")
    if any(np.isinf(arm).any() for arm in scores):
        raise InputError("a score is infinite: give NaN for an image where a metric is undefined")
    if groups is not None and len(groups) != size:
        raise InputError(
            f"{size} scores but {counted(len(groups), 'group')}; give one group for each image"
        )
    defined = ~np.isnan(np.sum(scores, axis=0))
    kept = [arm[defined] for arm in scores]
    if groups is None:
        return kept, np.arange(kept[0].size)
    return kept, numbered([each for each, known in zip(groups, defined, strict=True) if known])


def numbered(groups: Sequence[object]) -> NDArray[np.intp]:
    """(N,) the number of each image's group, from 0 on in the order in which groups appear."""
    numbers: dict[object, int] = {}
    return np.array([numbers.setdefault(group, len(numbers)) for group in groups], dtype=np.intp)


def _mean(values: Floats) -> float:
    return float(values.mean()) if values.size else np.nan
