"""A small picture of an image with its label, for contact sheets and notebooks."""

import numpy as np
from numpy.typing import NDArray

from abbe.imaging.image import Image, Region
from abbe.imaging.pictures.composite import draw_outlines, view

LONGEST = 512
"""px; of a larger image the middle is shown."""
OUTLINE_COLOUR = (255, 220, 0)


def thumbnail(image: Image, label: NDArray[np.int32] | None) -> np.ndarray:
    """The middle of an image in colour, with the outlines of its label.

    Args:
        image: any size; little of a large one is read.
        label: (H, W) of the image's size, or None.

    Returns:
        (h, w, 3) uint8.

    Raises:
        InputError: the image cannot be read.
    """
    region = _middle(image.shape)
    picture = view(image.read(region), image.channels)
    if label is None:
        return picture
    within = label[region.top : region.bottom, region.left : region.right]
    return draw_outlines(picture, within, OUTLINE_COLOUR)


def _middle(shape: tuple[int, int]) -> Region:
    height, width = (min(side, LONGEST) for side in shape)
    top, left = (shape[0] - height) // 2, (shape[1] - width) // 2
    return Region(top, left, top + height, left + width)
