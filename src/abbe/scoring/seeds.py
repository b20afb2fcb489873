"""How sure the mean over a few trainings is that differ in their seed."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def draw_seeds(count: int, *, resamples: int, seed: int = 0) -> Floats:
    """The weight of each seed in each resample.

    One seed fewer than there are is drawn, with replacement: drawing all S of them again would
    understate the variance of their mean by the factor (S − 1) / S, which is a third for three
    seeds (Rao and Wu 1988, "Resampling inference with complex survey data").

    Args:
        count: S, the number of seeds; of a single one nothing can be drawn, and its weight is 1.
        resamples: R.
        seed: the same seed draws the same resamples.

    Returns:
        (R, S); each row adds up to 1.
    """
    if count == 1:
        return np.ones((resamples, 1))
    # A stream of its own: the draws of images must not decide which seeds are drawn.
    generator = np.random.default_rng([seed, 1])
    return generator.multinomial(count - 1, np.full(count, 1 / count), size=resamples) / (count - 1)


def mean_over_seeds(scores: Floats, weights: Floats) -> Floats:
    """The mean over the drawn seeds, in every resample.

    Args:
        scores: (S, R) a score by seed and resample of the images.
        weights: (R, S) from `draw_seeds`.

    Returns:
        (R,); NaN where the score of a drawn seed is.
    """
    weighted = np.where(weights.T > 0, scores * weights.T, 0.0)
    return weighted.sum(0)
