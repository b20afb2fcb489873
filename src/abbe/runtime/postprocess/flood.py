"""A watershed that floods only where objects touch.

Most objects touch no other, and most pixels of those that do lie inside a seed already. So each
component with one seed stays as it is, and the watershed sees only the pixels between the seeds
of the other components.

Everything here joins pixels by their sides only, as the watershed does: a diagonal boundary one
pixel wide must separate, and no pixel of a component may be out of the flood's reach.
"""

import cc3d
import numpy as np
from skimage.segmentation import watershed

# 32 bits of a height and 21 of a rank are what a double holds exactly.
_RANKS = 1 << 21


def components_of(mask: np.ndarray) -> np.ndarray:
    """(H, W) int32: the 4-connected components of a mask, numbered from 1, 0 outside."""
    return cc3d.connected_components(mask, connectivity=4, out_dtype=np.uint32).view(np.int32)


def owners(seeds: np.ndarray, components: np.ndarray) -> np.ndarray:
    """For each seed number the component that it lies in; 0 for a number that no seed bears."""
    owner = np.zeros(int(seeds.max()) + 1, np.int64)
    inside = np.flatnonzero(seeds)
    owner[seeds.ravel()[inside]] = components.ravel()[inside]
    return owner


def flood(components: np.ndarray, seeds: np.ndarray, height: np.ndarray) -> np.ndarray:
    """Share each component among its seeds by a watershed on ``height``.

    Components with fewer than two seeds stay whole. Pixels enclosed by their own seed keep out of
    the watershed: they could not change hands.

    Args:
        components: (H, W) int32, 4-connected components of the mask, 0 outside.
        seeds: (H, W) int32, 4-connected seeds inside the components, 0 elsewhere.
        height: (H, W) float, flooded from low to high.

    Returns:
        (H, W) int32: positive exactly where ``components`` is; numbers may have gaps.
    """
    count = int(components.max())
    seeds_in = np.bincount(owners(seeds, components), minlength=count + 1)
    seeds_in[0] = 0  # the numbers that no seed bears
    contested = (seeds_in > 1)[components]
    if not contested.any():
        return components
    enclosed = _enclosed(seeds > 0)
    open_water = contested & ~enclosed
    shores = np.where(enclosed, 0, seeds)
    basins = watershed(_ordered(height, shores > 0, open_water), shores, mask=open_water)
    basins = np.where(enclosed, seeds, basins)
    return np.where(contested, basins + count, components).astype(np.int32, copy=False)


def _ordered(height: np.ndarray, shores: np.ndarray, where: np.ndarray) -> np.ndarray:
    """The same heights ``where`` they are asked for, but no two pixels of ``shores`` equally high.

    Where several seeds' pixels are equally high, skimage floods from them in the order in which its
    heap happens to hold them, and that depends on whatever else is in the image. Here the first in
    reading order comes first, so a component is shared out in the same way wherever it lies, and a
    tile agrees with its neighbour.
    """
    places = np.flatnonzero(where)
    bits = height.ravel()[places].astype(np.float32, copy=False).view(np.int32).astype(np.int64)
    key = np.where(bits < 0, -(bits & 0x7FFFFFFF), bits)  # ascends as the floats do
    rank = np.full(len(places), _RANKS - 1, np.int64)
    ashore = shores.ravel()[places]
    count = int(np.count_nonzero(ashore))
    order = np.arange(count, dtype=np.int64)
    rank[ashore] = order if count < _RANKS else order * (_RANKS - 1) // count
    ordered = np.zeros(height.shape, np.float64)
    ordered.ravel()[places] = key * _RANKS + rank
    return ordered


def _enclosed(mask: np.ndarray) -> np.ndarray:
    """Pixels of the mask whose four neighbours are in it too; never pixels of the image's rim."""
    inner = np.zeros_like(mask)
    inner[1:-1, 1:-1] = (
        mask[1:-1, 1:-1] & mask[:-2, 1:-1] & mask[2:, 1:-1] & mask[1:-1, :-2] & mask[1:-1, 2:]
    )
    return inner
