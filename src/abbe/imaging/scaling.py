"""From stored pixels to values from 0 to 1: the first thing that is done to every image."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from abbe.errors import InputError
from abbe.imaging.image import Image
from abbe.imaging.normalisation import image_limits, percentile_limits, sampled_pixels

ScalingKind = Literal["percentile", "range", "none"]

_RANGE = "range of the pixel type"
_NONE = "none, values lie in 0 to 1"


@dataclass(frozen=True)
class Scaling:
    """How pixels become values from 0 to 1.

    Attributes:
        kind: ``percentile`` stretches each image and channel from its percentile ``low`` to 0 and
            ``high`` to 1, clipped; ``range`` divides by what the pixel type can hold, 255 or 65535,
            and leaves floats as they are; ``none`` leaves all values as they are.
        low, high: Of ``percentile``, 0 to 100.
    """

    kind: ScalingKind = "percentile"
    low: float = 1.0
    high: float = 99.8

    @property
    def words(self) -> str:
        """What is written into files."""
        if self.kind == "percentile":
            return f"percentile {self.low:g}-{self.high:g} per image and channel"
        return {"range": _RANGE, "none": _NONE}[self.kind]

    def limits(self, pixels: np.ndarray, source: str = "the image") -> np.ndarray:
        """What becomes 0 and 1 in an image: (C, 2) float32, for `abbe.imaging.normalise`.

        Args:
            pixels: (C, H, W), all of the image, or enough of it.
            source: What messages call it.

        Raises:
            InputError: Values lie outside 0 to 1 where they are to be left as they are, the type
                has no range that would mean anything, or pixels are NaN.
        """
        if self.kind == "percentile":
            return percentile_limits(pixels, self.low, self.high)
        if (known := self._by_type(pixels.dtype, len(pixels), source)) is not None:
            return known
        least, most = pixels.min(), pixels.max()
        if not (least >= 0 and most <= 1):  # as a negation, so that NaN is refused
            raise InputError(
                f"{source}: its values go from {least:g} to {most:g}, and normalisation "
                f"'{self.kind}' takes {pixels.dtype} as it is, from 0 to 1. Rescale the images or "
                "save them as 8-bit, or train with --student.normalisation percentile"
            )
        return _limits(len(pixels), 1)

    def image_limits(self, image: Image, channels: Sequence[str] | None = None) -> np.ndarray:
        """``limits`` of an image of any size, of which no more is read than is needed.

        Above 16.8 million pixels, windows on an even grid stand for the whole.
        """
        count = len(image.channels if channels is None else channels)
        if self.kind == "percentile":
            return image_limits(image, channels, self.low, self.high)
        if (known := self._by_type(image.dtype, count, image.source)) is not None:
            return known
        return self.limits(sampled_pixels(image, channels), image.source)

    def _by_type(self, dtype: np.dtype[Any], count: int, source: str) -> np.ndarray | None:
        """The limits that the pixel type alone decides; None where values must be looked at."""
        if self.kind == "none" or dtype.kind == "f":
            return None
        if dtype.kind != "u" or dtype.itemsize > 2:
            raise InputError(
                f"{source}: normalisation 'range' divides by what the pixel type can hold, which "
                f"says nothing for {dtype}. Save the images as 8- or 16-bit (uint8, uint16), or "
                "train with --student.normalisation percentile"
            )
        return _limits(count, np.iinfo(dtype).max)


PERCENTILE = Scaling()
"""What every network of Abbe's was trained with before there was a choice."""


def scaling_in_words(words: str | None, source: str) -> Scaling:
    """The scaling that a file names; files of earlier versions say nothing and mean percentiles.

    Raises:
        InputError: It is none that this version knows.
    """
    known = {each.words: each for each in map(Scaling, get_args(ScalingKind))}
    if words is None:
        return PERCENTILE
    if words not in known:
        raise InputError(
            f"{source}: reads images normalised by '{words}'; this version knows "
            f"{', '.join(repr(each) for each in known)}"
        )
    return known[words]


def _limits(count: int, most: float) -> np.ndarray:
    return np.tile(np.array([0, most], np.float32), (count, 1))
