"""How sure the mean over a few trainings is that differ in their seed."""

import numpy as np
from numpy.typing import ArrayLike

from abbe.scoring.statistics import Spread


def spread_over_seeds(values: ArrayLike) -> Spread:
    """How sure the mean over seeds is, for all that the images leave open.

    Args:
        values: (S,) a score by seed. Of a single one nothing is known of other seeds: then this
            adds nothing, and whoever shows the score must say that it is of one seed.
    """
    scores = np.asarray(values, dtype=np.float64)
    if scores.size < 2:
        return Spread(0.0, np.inf)
    return Spread(float(scores.var(ddof=1) / scores.size), scores.size - 1)


def joined(images: Spread, seeds: Spread) -> Spread:
    """The spread of a mean over images and seeds, whose variances add up.

    The degrees of freedom are Satterthwaite's (1946, "An approximate distribution of estimates of
    variance components"). What a seed does to one image alone counts in both parts, so the interval
    is a little too wide rather than too narrow.
    """
    variance = images.variance + seeds.variance
    if not variance > 0:  # nothing varies, or nothing is known
        return Spread(variance, images.freedom)
    weight = images.variance**2 / images.freedom + seeds.variance**2 / seeds.freedom
    return Spread(variance, variance**2 / weight)
