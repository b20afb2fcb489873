"""How an image of the 2018 Data Science Bowl was taken, told from its pixels, and which are alike.

The four kinds are those of Caicedo et al. 2019 (there fluorescence is two, by the size of nuclei).
"""

from collections.abc import Mapping, Sequence

import numpy as np
import PIL.Image
from numpy.typing import NDArray

FLUORESCENCE, H_AND_E, PURPLE, BRIGHTFIELD = "fluorescence", "he", "purple_on_white", "brightfield"
MODALITIES = (FLUORESCENCE, H_AND_E, PURPLE, BRIGHTFIELD)
FOLDS = 5

_COLOURED = 6.0
"""Mean difference of the largest and the smallest of red, green, blue; grey images have 0."""
_BRIGHT = 128.0
_PINK = 20.0
_SAME = 0.9
"""Correlation of two thumbnails from which images count as near-duplicates."""
_SIDE = 16
THUMBNAIL = _SIDE * _SIDE


def modality_of(pixels: NDArray[np.uint8]) -> str:
    """The kind of an image (H, W, 3) of red, green and blue; one of `MODALITIES`.

    Without colour (the mean over the pixels of the largest minus the smallest of the three below
    6), a median luminance below 128 says fluorescence, any other bright-field. With colour, a mean
    red above the mean blue and 20 or more above the mean green says H&E, as eosin is pink; else
    the tissue is purple alone, on white or on light violet.
    """
    values = pixels.astype(np.float32)
    if float((values.max(2) - values.min(2)).mean()) < _COLOURED:
        dark = float(np.median(values.mean(2))) < _BRIGHT
        return FLUORESCENCE if dark else BRIGHTFIELD
    red, green, blue = values.mean((0, 1))
    return H_AND_E if red > blue and red - green >= _PINK else PURPLE


def thumbnail(picture: PIL.Image.Image) -> NDArray[np.float32]:
    """What two images are compared by: 16 x 16 means of the luminance, standardised."""
    small = picture.convert("L").resize((_SIDE, _SIDE), PIL.Image.Resampling.BOX)
    means = np.asarray(small, np.float32).ravel()
    deviation = float(means.std())
    return (means - means.mean()) / deviation if deviation else means * 0


def near_duplicates(
    ids: Sequence[str], shapes: Sequence[tuple[int, int]], thumbnails: Sequence[NDArray[np.float32]]
) -> dict[str, str]:
    """For each image, the first of those it is nearly equal to, directly or through others.

    Two images are nearly equal where they have the same size and their thumbnails correlate by
    0.9 or more. (Of the 532 images of a cleaned copy of the set, no two exceed 0.70.)
    """
    first = list(range(len(ids)))

    def root(index: int) -> int:
        while first[index] != index:
            index = first[index]
        return index

    table = np.stack(thumbnails)
    like = table @ table.T / table.shape[1]
    for one, other in np.argwhere(np.triu(like >= _SAME, 1)).tolist():
        if shapes[one] == shapes[other]:
            low, high = sorted((root(one), root(other)))
            first[high] = low
    return {id: ids[root(index)] for index, id in enumerate(ids)}


def folds(groups: Mapping[str, str], kinds: Mapping[str, str]) -> dict[str, int]:
    """The fold 0 … 4 of each image: groups stay whole, and each kind is spread evenly.

    Groups are dealt in the order of size, then of id, each to the fold that has the fewest images
    of its first member's kind, then the fewest images. Nothing is drawn at random.

    Args:
        groups: by id, the image that its group is named after.
        kinds: by id, the modality.
    """
    members: dict[str, list[str]] = {}
    for id in sorted(groups):
        members.setdefault(groups[id], []).append(id)
    count = {kind: [0] * FOLDS for kind in kinds.values()}
    total, found = [0] * FOLDS, {}
    for group, ids in sorted(members.items(), key=lambda item: (-len(item[1]), item[0])):
        kind = kinds[group]
        fold = min(range(FOLDS), key=lambda k: (count[kind][k], total[k], k))
        for id in ids:
            found[id] = fold
            count[kinds[id]][fold] += 1
            total[fold] += 1
    return found
