"""How large objects are, as one number: the diameter of a disc of their area."""

import numpy as np


def diameters_of(labels: np.ndarray) -> np.ndarray:
    """Equivalent diameters, 2 √(area / π), of the objects of a label image, px.

    >>> diameters_of(np.array([[0, 1, 1], [0, 2, -1]])).round(3)
    array([1.596, 1.128])

    Args:
        labels: (H, W) int; 0 is background, −1 unknown.

    Returns:
        (n,) float64, in the order of their numbers.
    """
    areas = np.bincount(labels[labels > 0])
    return 2 * np.sqrt(areas[areas > 0] / np.pi)
