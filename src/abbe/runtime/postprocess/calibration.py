"""Probabilities that mean what they say: logits divided by a temperature (Guo et al. 2017)."""

from collections.abc import Sequence

import numpy as np

_MOST = 1 - np.float32(6e-8)
"""The highest float32 below 1: a sigmoid that was rounded to 1 was not sure beyond all measure."""


def calibrated(
    probabilities: np.ndarray, temperature: Sequence[float], *, exclusive: bool
) -> np.ndarray:
    """The same with the logits divided by their temperature.

    What is above one half stays there, and the highest of several classes stays the highest. Zeros
    stay 0: they stand where no network was asked, such as beside the tissue of a slide.

    Args:
        probabilities: (K, …) float, in [0, 1].
        temperature: T of each of the K maps, or one of classes that exclude each other; none where
            they are not calibrated.
        exclusive: whether they are classes of sum 1: p^(1/T) / Σ p^(1/T). Of maps on their own,
            σ(logit(p) / T).

    >>> calibrated(np.array([0.5, 0.9]), [2.0, 2.0], exclusive=False).round(3).tolist()
    [0.5, 0.75]
    >>> calibrated(np.array([0.9, 0.1]), [2.0], exclusive=True).round(3).tolist()
    [0.75, 0.25]
    >>> calibrated(np.array([0.0, 1.0]), [9.0], exclusive=True).tolist()
    [0.0, 1.0]
    """
    if not temperature:
        return probabilities
    if exclusive:
        powers = probabilities ** np.asarray(1 / temperature[0], probabilities.dtype)
        return powers / powers.sum(0, keepdims=True)
    p = np.minimum(probabilities, _MOST)
    t = np.asarray(temperature, p.dtype).reshape(-1, *[1] * (p.ndim - 1))
    with np.errstate(divide="ignore", over="ignore"):  # of 0, infinite odds against it
        odds = ((1 - p) / p) ** (1 / t)
    return 1 / (1 + odds)
