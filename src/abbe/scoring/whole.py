"""How sure a score of a whole set of images is, where it is no mean over images.

Balanced accuracy or mean IoU of a test set is not the mean of anything one image has, so images (or
whole groups of them) are drawn again and the score computed anew: the cluster bootstrap of
`abbe.scoring.statistics`, for such scores.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from abbe.scoring.statistics import CONFIDENCE, Difference, Interval

Floats = NDArray[np.float64]


def draw_counts(groups: Sequence[object], *, resamples: int, seed: int = 0) -> Floats:
    """How often each image counts in each resample.

    As many groups as there are are drawn with replacement, and all images of a drawn group count.

    Args:
        groups: (N,) the group of each image (patient, slide …), or its id where it stands alone.
        resamples: R.
        seed: the same seed draws the same resamples.

    Returns:
        (R, N); (0, N) where there are fewer than two groups: nothing is known of the spread.
    """
    units = {group: number for number, group in enumerate(dict.fromkeys(groups))}
    index = np.array([units[group] for group in groups], dtype=np.intp)
    if len(units) < 2:
        return np.empty((0, len(index)))
    share = np.full(len(units), 1 / len(units))
    drawn = np.random.default_rng(seed).multinomial(len(units), share, size=resamples)
    return drawn[:, index].astype(np.float64)


def whole_interval(value: float, resampled: Floats, n: int) -> Interval:
    """A score with its 95 % percentile interval.

    Args:
        value: of the set itself.
        resampled: (R,) of its resamples; NaN where the score is undefined, which are left out.
        n: number of images.
    """
    return Interval(float(value), *_limits(resampled), n)


def whole_difference(
    first: float, second: float, first_resampled: Floats, second_resampled: Floats, n: int
) -> Difference:
    """The difference of two scores on the same images, with its 95 % interval and two-sided p.

    Args:
        first, second: the scores of the set itself.
        first_resampled, second_resampled: (R,) those of the same resamples.
        n: number of images.

    Returns:
        p as `abbe.scoring.paired_bootstrap` has it: never 0.
    """
    differences = first_resampled - second_resampled
    differences = differences[~np.isnan(differences)]
    p = np.nan
    if differences.size:
        rarer = min(np.count_nonzero(differences <= 0), np.count_nonzero(differences >= 0))
        p = min(1.0, 2 * (1 + rarer) / (1 + differences.size))
    return Difference(float(first - second), *_limits(differences), p, n)


def _limits(resampled: Floats) -> tuple[float, float]:
    defined = resampled[~np.isnan(resampled)]
    if not defined.size:
        return np.nan, np.nan
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(defined, [tail, 1 - tail], method="inverted_cdf")
    return float(low), float(high)
