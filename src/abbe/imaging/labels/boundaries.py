"""The boundary of objects, as every recipe learns it and every teacher of objects draws it."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def inner_boundary(instances: NDArray[Any]) -> NDArray[np.bool_]:
    """Pixels of an instance with one of eight neighbours in the background or another instance.

    `abbe.losses.boundary_of` says the same in torch. Lines to look at are thinner:
    `abbe.imaging.outlines`.

    Args:
        instances: (H, W) integers, 0 for the background, below 0 where nobody knows.

    Returns:
        (H, W) bool; unknown pixels and the image's own border make none.
    """
    from scipy.ndimage import maximum_filter, minimum_filter  # slow to import

    # Neither way is an unknown pixel the most of a neighbourhood that has a known one.
    known = np.where(instances < 0, instances.max(initial=0), instances)
    different = maximum_filter(instances, 3) != minimum_filter(known, 3)
    return different & (instances > 0)
