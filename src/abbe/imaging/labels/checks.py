"""Recognises files that are no label images although they hold whole numbers."""

from collections.abc import Iterator

import cc3d
import numpy as np
from scipy.ndimage import binary_dilation

from abbe.errors import InputError
from abbe.imaging.image import Image, Region

_STREWN = 2  # a picture has each value in so many places, and most of its pixels in no 2 × 2 block
_SOFT = 0.9  # of a soft mask, so much lies at the edge between the lowest and the highest value
_CLASSES = 3  # so many places for each number are rather those of classes
_USUAL = (1, 127, 128, 254, 255, 32767, 32768, 65534, 65535)
_BAND = 1 << 22  # px of an image that are compared at a time


def require_numbers(values: np.ndarray, source: str) -> None:
    """Refuse pictures: masks with soft or compressed edges, and images in the place of masks.

    In a label, a number's pixels lie together. In a picture each value is strewn over many places.

    Args:
        values: (H, W) int32 as stored, −1 unknown.
        source: What messages call it.

    Raises:
        InputError: It is a picture, or has several numbers and no background.
    """
    if not values.size or values.max() <= 0:
        return
    numbers, counts = np.unique(values[values > 0], return_counts=True)
    if len(numbers) == 1:
        return
    if _is_picture(values, numbers, int(numbers[counts.argmax()])):
        raise InputError(
            f"{source}: {len(numbers):,} values from {numbers[0]} to {numbers[-1]:,} are strewn "
            "over it as grey values are, so it is a picture and not numbers of objects. If it is a "
            "mask with soft edges or from a lossy file, save it anew from the source, or set what "
            "is below half to 0; if it is the image itself, name the mask."
        )
    if values.min() > 0:
        raise InputError(
            f"{source}: none of its pixels is background (0), as though all of it were objects. If "
            "it is the image itself, name the mask; else set what lies between the objects to 0."
        )


def _is_picture(values: np.ndarray, numbers: np.ndarray, frequent: int) -> bool:
    """Whether what lies between background and the most frequent number is strewn, or a soft edge.

    A soft edge is thin and lies between the background and the highest value.
    """
    between = (values > 0) & (values != frequent)
    count = np.count_nonzero(between)
    if np.count_nonzero(between & ~_in_blocks(values)) <= count / 2:
        return False
    if _places(np.where(between, values, 0)) >= _STREWN * (len(numbers) - 1):
        return True
    edge = between & _near(values == 0) & _near(values == frequent)
    return bool(frequent == numbers[-1] and np.count_nonzero(edge) > _SOFT * count)


def equals_image(labels: np.ndarray, image: Image) -> bool:
    """Whether the labels are the image itself, with more than one number in them."""
    if len(image.channels) != 1 or labels.shape != image.shape or labels.max(initial=0) < 2:
        return False
    height, width = image.shape
    rows = max(1, _BAND // width)
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        if not np.array_equal(image.read(Region(top, 0, bottom, width))[0], labels[top:bottom]):
            return False
    return True


def doubts(values: np.ndarray) -> Iterator[tuple[str, str]]:
    """What in a label is perhaps meant otherwise than it is read, and how it was read.

    Args:
        values: (H, W) int32 as stored, −1 unknown.
    """
    numbers, counts = np.unique(values[values > 0], return_counts=True)
    if not len(numbers):
        return
    highest = int(numbers[-1])
    if len(numbers) > 1 and highest in (255, 65535) and numbers[-2] < highest - 1:
        share = counts[-1] / values.size
        yield (
            f"a label's value {highest} may mean 'ignore', and is read as an object",
            f"{share:.1%} of the px; if so, say --data.ignore {highest}",
        )
    places = _places(np.where(values > 0, values, 0))
    if len(numbers) == 1 and highest not in _USUAL and places > 1:
        yield (
            "a label of one number was taken for a mask",
            f"number {highest}: its {places} parts are {places} objects",
        )
    if len(numbers) > 1 and places >= _CLASSES * len(numbers):
        yield (
            "a label's numbers are each in several places, as those of classes are",
            f"{len(numbers)} numbers in {places} places; each number is read as one object",
        )
    if len(numbers) == 1 and values.min() > 0:
        yield "a label has no background", "the object fills the image"


def _places(values: np.ndarray) -> int:
    return int(cc3d.connected_components(values, connectivity=8, return_N=True)[1])


def _near(mask: np.ndarray) -> np.ndarray:
    return binary_dilation(mask, np.ones((3, 3)), iterations=2)


def _in_blocks(values: np.ndarray) -> np.ndarray:
    """Which pixels are part of a block of 2 × 2 px of the same value, (H, W) bool."""
    corner = values[:-1, :-1]
    same = (corner == values[1:, :-1]) & (corner == values[:-1, 1:]) & (corner == values[1:, 1:])
    found = np.zeros(values.shape, bool)
    for rows in (slice(None, -1), slice(1, None)):
        for columns in (slice(None, -1), slice(1, None)):
            found[rows, columns] |= same
    return found
