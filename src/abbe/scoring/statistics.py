"""How sure a mean over images is: percentile bootstrap over images or over groups.

Images of one patient, slide or video are alike, so where groups are known it is whole groups that
are drawn, with replacement, as many as there are; the mean is then taken over all images drawn
(the cluster bootstrap; Davison & Hinkley, Bootstrap Methods and their Application, 1997, §3.8).

An image where a score is NaN (undefined) is left out, of both arms of a comparison, and ``n`` is
the number of images that remain. With fewer than two images, or than two groups, nothing can be
said about the spread: the limits (and p) are NaN. Without any image the mean is NaN too.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from abbe.errors import InputError

CONFIDENCE = 0.95
_DRAWS_AT_ONCE = 1 << 22  # keeps the table of draws below 32 MiB


class Interval(NamedTuple):
    """A mean (or ratio of means) with its 95 % interval; ``n`` images."""

    mean: float
    low: float
    high: float
    n: int


class Difference(NamedTuple):
    """A mean difference with its 95 % interval and two-sided p; ``n`` images."""

    mean: float
    low: float
    high: float
    p: float
    n: int


def bootstrap_mean(
    values: ArrayLike,
    groups: Sequence[object] | None = None,
    *,
    resamples: int = 10_000,
    seed: int = 0,
) -> Interval:
    """The mean of one score over images, with its 95 % percentile interval.

    Args:
        values: (N,) one score an image; NaN where undefined.
        groups: (N,) the group of each image (patient, slide…); None: every image by itself.
        resamples: how many resamples are drawn.
        seed: the same seed draws the same resamples.

    Raises:
        InputError: no 1-D numbers, an infinite score, or not one group for each image.
    """
    (kept,), units = _complete([values], groups)
    means = _resampled_means([kept], units, resamples, seed)
    return Interval(_mean(kept), *_limits(means[0]), kept.size)


def paired_bootstrap(
    first: ArrayLike,
    second: ArrayLike,
    groups: Sequence[object] | None = None,
    *,
    resamples: int = 10_000,
    seed: int = 0,
) -> Difference:
    """The mean of ``first − second`` over the images that both have a score for.

    The two-sided p is 2 (1 + k) / (1 + resamples), at most 1, where k is how many resampled mean
    differences lie at or beyond 0 on the rarer side (Davison & Hinkley 1997, §4.4): it is never 0.

    Args:
        first: (N,) one score an image, say the student's; NaN where undefined.
        second: (N,) the other's scores on the same images in the same order, say the twin's.
        groups: (N,) the group of each image; None: every image by itself.
        resamples: how many resamples are drawn.
        seed: the same seed draws the same resamples.

    Raises:
        InputError: no 1-D numbers of one length, an infinite score, or not one group an image.

    >>> student, twin = [0.80, 0.90, 0.70, 0.85], [0.70, 0.82, 0.68, 0.80]
    >>> gain = paired_bootstrap(student, twin, groups=["a", "a", "b", "c"])
    >>> f"{gain.mean:.4f} [{gain.low:.2f}, {gain.high:.2f}], {gain.n} images"
    '0.0625 [0.02, 0.09], 4 images'
    """
    (a, b), units = _complete([first, second], groups)
    difference = a - b
    means = _resampled_means([difference], units, resamples, seed)[0]
    p = np.nan
    if means.size:
        rarer = min(np.count_nonzero(means <= 0), np.count_nonzero(means >= 0))
        p = min(1.0, 2 * (1 + rarer) / (1 + means.size))
    return Difference(_mean(difference), *_limits(means), p, difference.size)


def ratio_bootstrap(
    first: ArrayLike,
    second: ArrayLike,
    groups: Sequence[object] | None = None,
    *,
    resamples: int = 10_000,
    seed: int = 0,
) -> Interval:
    """mean(first) / mean(second) over the images that both have a score for (retention).

    Where mean(second) is 0 the ratio is NaN. A resample with mean(second) = 0 counts as an
    infinite ratio, so that a shaky denominator widens the interval instead of leaving it.

    Args:
        first: (N,) one score an image, say the student's; NaN where undefined.
        second: (N,) the scores of what it is held against, say the teacher's.
        groups: (N,) the group of each image; None: every image by itself.
        resamples: how many resamples are drawn.
        seed: the same seed draws the same resamples.

    Raises:
        InputError: no 1-D numbers of one length, an infinite score, or not one group an image.
    """
    (a, b), units = _complete([first, second], groups)
    if _mean(b) == 0:
        return Interval(np.nan, np.nan, np.nan, a.size)
    above, below = _resampled_means([a, b], units, resamples, seed)
    ratios = np.full(above.size, np.inf)
    np.divide(above, below, out=ratios, where=below != 0)
    return Interval(_mean(a) / _mean(b), *_limits(ratios), a.size)


def _complete(
    arms: Sequence[ArrayLike], groups: Sequence[object] | None
) -> tuple[list[np.ndarray], np.ndarray]:
    """The arms without images where any is NaN, and for each image the number of its unit."""
    scores = [np.asarray(arm, dtype=np.float64) for arm in arms]
    size = scores[0].size
    if any(arm.shape != (size,) for arm in scores):
        shapes = " and ".join(str(arm.shape) for arm in scores)
        raise InputError(f"scores must be flat lists with one number an image; got shapes {shapes}")
    if any(np.isinf(arm).any() for arm in scores):
        raise InputError("a score is infinite: give NaN for an image where a metric is undefined")
    if groups is not None and len(groups) != size:
        raise InputError(f"{size} scores but {len(groups)} groups: give one group for each image")
    defined = ~np.isnan(np.sum(scores, axis=0))
    kept = [arm[defined] for arm in scores]
    if groups is None:
        return kept, np.arange(kept[0].size)
    numbers: dict[object, int] = {}
    units = [
        numbers.setdefault(group, len(numbers))
        for group, is_defined in zip(groups, defined, strict=True)
        if is_defined
    ]
    return kept, np.array(units, dtype=np.intp)


def _resampled_means(
    arms: Sequence[np.ndarray], units: np.ndarray, resamples: int, seed: int
) -> np.ndarray:
    """(arms, resamples): the means of the same resamples for every arm; empty below two units."""
    count = int(units.max(initial=-1)) + 1
    if count < 2:
        return np.empty((len(arms), 0))
    sums = [np.bincount(units, arm, count) for arm in arms]
    sizes = np.bincount(units, minlength=count)
    generator = np.random.default_rng(seed)
    at_once = max(1, _DRAWS_AT_ONCE // count)
    means = []
    for start in range(0, resamples, at_once):
        draws = generator.integers(0, count, (min(at_once, resamples - start), count))
        images = sizes[draws].sum(axis=1)
        means.append([total[draws].sum(axis=1) / images for total in sums])
    return np.concatenate(means, axis=1)


def _limits(means: np.ndarray) -> tuple[float, float]:
    if means.size == 0:
        return np.nan, np.nan
    tail = (1 - CONFIDENCE) / 2
    # An order statistic, not an interpolated one, which is undefined between infinite ratios.
    low, high = np.quantile(means, [tail, 1 - tail], method="inverted_cdf")
    return float(low), float(high)


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if values.size else np.nan
