"""How sure a score of a whole set of images is, where it is no mean over images.

Balanced accuracy or mean IoU of a test set is not the mean of anything one image has, so the score
is computed anew without each group of images: see `abbe.scoring.statistics`.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from abbe.scoring.statistics import numbered

Floats = NDArray[np.float64]

MOST_PARTS = 400
"""More groups than these are left out several at a time, drawn at random: time and memory are
bounded, and nothing is gained by more degrees of freedom."""


def leave_out(groups: Sequence[object]) -> tuple[Floats, NDArray[np.intp]]:
    """Which images count when each group is left out, and how many each group has.

    Args:
        groups: (N,) the group of each image (patient, slide …), or its id where it stands alone.

    Returns:
        (G, N) 0 for the images left out and 1 for the others; (G,) the images left out.
    """
    units = numbered(groups)
    count = int(units.max(initial=-1)) + 1
    if count > MOST_PARTS:
        parts = np.random.default_rng(0).permutation(np.arange(count) % MOST_PARTS)
        units, count = parts[units], MOST_PARTS
    counts = np.ones((count, units.size))
    counts[units, np.arange(units.size)] = 0
    return counts, np.bincount(units, minlength=count)
