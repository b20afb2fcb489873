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
    inside = np.flatnonzero(seeds > 0)
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
    places = np.flatnonzero((seeds_in > 1)[components])
    if not len(places):
        return components
    number = np.cumsum(seeds_in > 1) - 1  # of each component among those
    shape, packed = _packed(places, number[components.ravel()[places]], components.shape)
    basins = np.zeros(shape, np.int32)
    basins.ravel()[packed] = seeds.ravel()[places]
    enclosed = _enclosed(basins > 0)
    wet = ~enclosed.ravel()[packed]
    open_water = np.zeros(shape, bool)
    open_water.ravel()[packed[wet]] = True
    shores = basins * open_water
    heights = np.zeros(shape)
    heights.ravel()[packed[wet]] = _ordered(
        height.ravel()[places[wet]], shores.ravel()[packed[wet]] > 0
    )
    basins = np.where(open_water, watershed(heights, shores, mask=open_water), basins)
    labels = components.copy()
    labels.ravel()[places] = basins.ravel()[packed] + count
    return labels


def _packed(
    places: np.ndarray, numbers: np.ndarray, shape: tuple[int, ...]
) -> tuple[tuple[int, ...], np.ndarray]:
    """Components below each other, a row apart, in an image without what is between them.

    Args:
        places: (N,) of all their pixels in the raveled image, ascending.
        numbers: (N,) which component each is of, from 0 without gaps.
        shape: of the image.

    Returns:
        The shape of that image, and the place in it of each pixel; those of the image itself where
        it would be no smaller.
    """
    rows, columns = np.divmod(places, shape[1])
    count = int(numbers.max()) + 1
    top, left = np.repeat([shape], count, axis=0).T
    bottom, right = np.zeros((2, count), np.int64)
    for least, most, values in ((top, bottom, rows), (left, right, columns)):
        np.minimum.at(least, numbers, values)
        np.maximum.at(most, numbers, values)
    heights = bottom - top + 2
    first = np.cumsum(heights) - heights
    width = int((right - left).max()) + 1
    smaller = int(heights.sum()), width
    if smaller[0] * width >= shape[0] * shape[1]:
        return shape, places
    packed = (rows - top[numbers] + first[numbers]) * width + columns - left[numbers]
    return smaller, packed


def _ordered(height: np.ndarray, ashore: np.ndarray) -> np.ndarray:
    """The same heights, but no two ashore equally high.

    Where several seeds' pixels are equally high, skimage floods from them in the order in which its
    heap happens to hold them, and that depends on whatever else is in the image. Here the first in
    reading order comes first, so a component is shared out in the same way wherever it lies, and a
    tile agrees with its neighbour.

    Args:
        height: (N,) of pixels in reading order.
        ashore: (N,) bool, which of them bear a seed.
    """
    bits = height.astype(np.float32, copy=False).view(np.int32).astype(np.int64)
    key = np.where(bits < 0, -(bits & 0x7FFFFFFF), bits)  # ascends as the floats do
    rank = np.full(len(height), _RANKS - 1, np.int64)
    count = int(np.count_nonzero(ashore))
    order = np.arange(count, dtype=np.int64)
    rank[ashore] = order if count < _RANKS else order * (_RANKS - 1) // count
    return (key * _RANKS + rank).astype(np.float64)


def _enclosed(mask: np.ndarray) -> np.ndarray:
    """Pixels of the mask whose four neighbours are in it too; never pixels of the image's rim."""
    inner = np.zeros_like(mask)
    inner[1:-1, 1:-1] = (
        mask[1:-1, 1:-1] & mask[:-2, 1:-1] & mask[2:, 1:-1] & mask[1:-1, :-2] & mask[1:-1, 2:]
    )
    return inner
