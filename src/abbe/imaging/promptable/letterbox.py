"""The square that networks of the SAM family see: where an image lies in it."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image as Picture

from abbe.errors import InputError

MEAN = (123.675, 116.28, 103.53)
DEVIATION = (58.395, 57.12, 57.375)
"""Of red, green and blue on the scale 0 to 255, as SAM was trained."""


@dataclass(frozen=True)
class LetterboxGeometry:
    """An image's place in the square: its longest side fills it, the rest is padding.

    The rounding is that of segment-anything's ``ResizeLongestSide``.

    Attributes:
        size: (height, width) of the image in px.
        side: Of the square in px.
        resized: (height, width) of the image in the square, at the top left.
    """

    size: tuple[int, int]
    side: int
    resized: tuple[int, int]

    @classmethod
    def of(cls, size: tuple[int, int], side: int) -> Self:
        """Place an image of this (height, width); no side falls below 1.

        Raises:
            InputError: The image has no pixels.
        """
        if min(size) < 1:
            raise InputError(f"an image of {size[0]} × {size[1]} px has nothing to segment")
        scale = side / max(size)
        height, width = (max(1, int(length * scale + 0.5)) for length in size)
        return cls((int(size[0]), int(size[1])), side, (height, width))

    def pixels(self, rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Resize, normalise and pad an image (H, W, 3) uint8: (3, side, side).

        Raises:
            InputError: The image is not of this size, or not 8-bit RGB.
        """
        if rgb.shape != (*self.size, 3) or rgb.dtype != np.uint8:
            raise InputError(
                f"the image is {rgb.shape} {rgb.dtype}; ({self.size[0]}, {self.size[1]}, 3) uint8 "
                "is needed here"
            )
        height, width = self.resized
        small = Picture.fromarray(rgb).resize((width, height), Picture.Resampling.BILINEAR)
        mean, deviation = np.array([MEAN, DEVIATION], np.float32)
        square = np.zeros((3, self.side, self.side), np.float32)
        normalised = (np.asarray(small, np.float32) - mean) / deviation
        square[:, :height, :width] = normalised.transpose(2, 0, 1)
        return square

    def places(self, xy: ArrayLike) -> NDArray[np.float32]:
        """Bring points (…, 2), x and y in px of the image, into the square."""
        scale = self.resized[1] / self.size[1], self.resized[0] / self.size[0]
        return (np.asarray(xy, np.float64) * scale).astype(np.float32)
