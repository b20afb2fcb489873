"""How sure a score is that several trainings came to, which differ in their seed.

The variance of its mean is that over the test images (or whole groups of them) and that over the
seeds.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from abbe.scoring.statistics import (
    Difference,
    Interval,
    Scale,
    Spread,
    difference_of,
    interval_of,
    spread_over_groups,
)

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Measured:
    """A score of trainings that differ in their seed alone, of the same test images.

    Attributes:
        by_seed: (S,) the score of all test images.
        left_out: (S, G) the same without each group of test images.
        sizes: (G,) images of the groups.
    """

    by_seed: Floats
    left_out: Floats
    sizes: NDArray[np.intp]

    @property
    def n(self) -> int:
        """Test images."""
        return int(self.sizes.sum())

    @property
    def spread(self) -> Spread:
        """Over groups and seeds."""
        together = self.left_out.mean(0)
        over_groups = spread_over_groups(together, self.sizes)
        seeds = self.by_seed.size
        if seeds < 2:
            return over_groups
        alone = [spread_over_groups(each - together, self.sizes).variance for each in self.left_out]
        in_both = float(np.sum(alone)) / (seeds * (seeds - 1))
        return joined(over_groups, spread_over_seeds(self.by_seed), in_both)

    def interval(self, scale: Scale) -> Interval:
        """The mean over seeds; ``scale``: what values the score can have."""
        return interval_of(float(self.by_seed.mean()), self.spread, self.n, scale)

    def difference(self) -> Difference:
        """The mean over seeds of what is a difference; of a single seed there is no p."""
        found = difference_of(float(self.by_seed.mean()), self.spread, self.n)
        return found if self.by_seed.size > 1 else found._replace(p=np.nan)

    def minus(self, other: "Measured") -> "Measured":
        """The difference, paired by image and seed; of seeds that one lacks, it says nothing."""
        first, second = self._beside(other)
        return Measured(
            first.by_seed - second.by_seed, first.left_out - second.left_out, self.sizes
        )

    def over(self, other: "Measured") -> "Measured":
        """The ratio, likewise; NaN where what is below is 0."""
        first, second = self._beside(other)
        return Measured(
            _ratio(first.by_seed, second.by_seed),
            _ratio(first.left_out, second.left_out),
            self.sizes,
        )

    def _beside(self, other: "Measured") -> "tuple[Measured, Measured]":
        """Both with the seeds that both have; what has one seed alone stands beside each."""
        seeds = (self.by_seed.size, other.by_seed.size)
        count = max(seeds) if 1 in seeds else min(seeds)
        first, second = (
            Measured(
                np.broadcast_to(each.by_seed[:count], (count,)),
                np.broadcast_to(each.left_out[:count], (count, each.left_out.shape[1])),
                each.sizes,
            )
            for each in (self, other)
        )
        return first, second


def measured_means(values: ArrayLike, units: NDArray[np.intp]) -> Measured:
    """Scores whose mean over images is wanted.

    Args:
        values: (S, N) by seed and image, none of them NaN.
        units: (N,) the number of each image's group, from 0 on.
    """
    scores = np.asarray(values, np.float64)
    count = int(units.max(initial=-1)) + 1
    sizes = np.bincount(units, minlength=count)
    sums = np.stack([np.bincount(units, each, minlength=count) for each in scores])
    rest = sizes.sum() - sizes
    left_out = _ratio(sums.sum(1, keepdims=True) - sums, np.broadcast_to(rest, sums.shape))
    means = _ratio(sums.sum(1), np.full(len(scores), float(sizes.sum())))
    return Measured(means, left_out, sizes)


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


def joined(images: Spread, seeds: Spread, in_both: float = 0.0) -> Spread:
    """The spread of a mean over images and seeds, whose variances add up.

    What a seed does to one image alone is in both parts, and is taken off once; below the larger of
    the two the sum never falls. The degrees of freedom are those of the parts, by the harmonic mean
    weighted with their shares of the variance. Satterthwaite (1946, "An approximate distribution of
    estimates of variance components") weights with the squares of these shares, which of three
    seeds are too uncertain: where seeds agree by luck, his intervals are too narrow
    (docs/statistics.md).

    Args:
        images: over images, or groups of them.
        seeds: over seeds.
        in_both: the variance that both parts hold.
    """
    parts = images.variance + seeds.variance
    if not parts > 0:  # nothing varies, or nothing is known
        return Spread(parts, images.freedom)
    variance = max(images.variance, seeds.variance, parts - in_both)
    inverse = images.variance / images.freedom + seeds.variance / seeds.freedom
    return Spread(variance, parts / inverse)


def _ratio(above: Floats, below: Floats) -> Floats:
    return np.divide(above, below, out=np.full(np.shape(above), np.nan), where=below != 0)
