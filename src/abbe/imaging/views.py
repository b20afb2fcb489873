"""Turns, inverts and converts pixels while they are read, as the file says."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

import numpy as np

from abbe.imaging.image import Contents, Levels, Pixels, Region

WHITE_IS_ZERO = "In this file 0 is white: its values were turned round, so that bright is high."
"""The note of images that are `Inverted`."""

_Side = TypeVar("_Side", int, float)

View = Callable[[Pixels], Pixels]
"""From the pixels as they are stored to those that are seen."""

# Orientation → (rows and columns are swapped, then rows reversed, then columns reversed), as TIFF
# 6.0 and EXIF define the tag 274.
_TURNS = {
    2: (False, False, True),
    3: (False, True, True),
    4: (False, True, False),
    5: (True, False, False),
    6: (True, False, True),
    7: (True, True, True),
    8: (True, True, False),
}


def viewed(contents: Contents, view: View, note: str | None = None) -> Contents:
    """The same contents, seen through ``view``; so are the levels of its pyramid."""
    return replace(
        contents,
        load=partial(_load, contents.load, view),
        coarser=partial(_levels, contents.coarser, view),
        notes=contents.notes if note is None else (*contents.notes, note),
    )


def turned(contents: Contents, orientation: int) -> Contents:
    """Turned as the tag for orientation says, as picture viewers do; a note says so.

    Values other than 2 to 8 mean upright.
    """
    if orientation not in _TURNS:
        return contents
    shape = _seen(contents.shape, orientation)
    size = contents.pixel_size
    return replace(
        contents,
        shape=shape,
        load=partial(_load, contents.load, partial(Turned, orientation, shape)),
        coarser=partial(_turned_levels, contents.coarser, orientation),
        pixel_size=size if size is None else _seen(size, orientation),
        notes=(*contents.notes, f"It was turned upright, as its orientation {orientation} says."),
    )


def turned_array(stored: np.ndarray, orientation: int) -> np.ndarray:
    """(…, H, W) as it is seen in this orientation."""
    swapped, upside_down, mirrored = _TURNS.get(orientation, (False, False, False))
    seen = stored.swapaxes(-1, -2) if swapped else stored
    return seen[..., :: -1 if upside_down else 1, :: -1 if mirrored else 1]


def _seen(sides: tuple[_Side, _Side], orientation: int) -> tuple[_Side, _Side]:
    return (sides[1], sides[0]) if _TURNS[orientation][0] else sides


def _load(load: Callable[[], Pixels], view: View) -> Pixels:
    return view(load())


def _levels(coarser: Callable[[], Levels], view: View) -> Levels:
    return [(shape, partial(_load, load, view)) for shape, load in coarser()]


def _turned_levels(coarser: Callable[[], Levels], orientation: int) -> Levels:
    seen = [(_seen(shape, orientation), load) for shape, load in coarser()]
    return [
        (shape, partial(_load, load, partial(Turned, orientation, shape))) for shape, load in seen
    ]


@dataclass(frozen=True)
class Turned:
    """Pixels that are stored in another orientation; ``shape`` is (height, width) as seen."""

    orientation: int
    shape: tuple[int, int]
    pixels: Pixels

    def read(self, region: Region, channels: Sequence[int]) -> np.ndarray:
        """Pixels of ``region``, (len(channels), height, width); no others are read."""
        top, left, bottom, right = region
        swapped, upside_down, mirrored = _TURNS[self.orientation]
        if upside_down:
            top, bottom = self.shape[0] - bottom, self.shape[0] - top
        if mirrored:
            left, right = self.shape[1] - right, self.shape[1] - left
        stored = Region(left, top, right, bottom) if swapped else Region(top, left, bottom, right)
        return turned_array(self.pixels.read(stored, channels), self.orientation)


@dataclass(frozen=True)
class Inverted:
    """Pixels of a file in which 0 is white: v becomes ``highest`` − v."""

    highest: int
    pixels: Pixels

    def read(self, region: Region, channels: Sequence[int]) -> np.ndarray:
        """Pixels of ``region``, (len(channels), height, width)."""
        block = self.pixels.read(region, channels)
        return ~block if block.dtype.kind == "b" else block.dtype.type(self.highest) - block


@dataclass(frozen=True)
class YCbCr:
    """How brightness and colour differences become red, green and blue.

    Attributes:
        luma: Shares of red, green and blue in the brightness Y (TIFF's YCbCrCoefficients); the
            default is ITU-R BT.601, which TIFF and JPEG share.
        reference: Black and white of Y, Cb and Cr (TIFF's ReferenceBlackWhite).
    """

    luma: tuple[float, ...] = (0.299, 0.587, 0.114)
    reference: tuple[float, ...] = (0, 255, 128, 255, 128, 255)

    def to_rgb(self, ycbcr: np.ndarray) -> np.ndarray:
        """(3, H, W) uint8, by the equations of TIFF 6.0, section 21."""
        y, cb, cr = (
            (plane.astype(np.float32) - black) * (span / (white - black))
            for plane, black, white, span in zip(
                ycbcr, self.reference[::2], self.reference[1::2], (255, 127, 127), strict=True
            )
        )
        red_share, green_share, blue_share = self.luma
        red = y + cr * (2 - 2 * red_share)
        blue = y + cb * (2 - 2 * blue_share)
        green = (y - blue_share * blue - red_share * red) / green_share
        return np.stack([red, green, blue]).round().clip(0, 255).astype(np.uint8)


@dataclass(frozen=True)
class FromYCbCr:
    """Pixels that are stored as YCbCr, in red, green and blue; further channels stay."""

    colours: YCbCr
    pixels: Pixels

    def read(self, region: Region, channels: Sequence[int]) -> np.ndarray:
        """Pixels of ``region``, (len(channels), height, width)."""
        others = [channel for channel in channels if channel > 2]
        block = self.pixels.read(region, [0, 1, 2, *others])
        seen = np.concatenate([self.colours.to_rgb(block[:3]), block[3:]])
        at = [channel if channel < 3 else 3 + others.index(channel) for channel in channels]
        return seen[at]
