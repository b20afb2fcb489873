"""Slides: images in several resolutions, looked at in whichever pixel size is wanted.

Pyramidal TIFF, OME-TIFF, SVS and OME-Zarr are read without further packages; NDPI, MRXS and the
other formats of OpenSlide with ``abbe[wsi]``. An image without a pyramid is a slide of one level.
"""

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import PIL.Image

from abbe.errors import InputError
from abbe.imaging.image import Contents, Image, Region, decoding
from abbe.imaging.opening import open_image

SIZE_TOLERANCE = 0.01
"""Pixel sizes that differ by no more than this share are taken for the same."""

# Resampling reads and converts bands of rows of about so many bytes of the finer level.
_BAND = 64 << 20


@dataclass(frozen=True)
class Slide:
    """A slide's levels, the finest first. It can be pickled; pixels are read when asked for.

    Attributes:
        levels: One image a level, with its own pixel size where the slide's is known.
    """

    levels: tuple[Image, ...]

    @property
    def name(self) -> str:
        """The file's name."""
        return self.levels[0].name

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the channels."""
        return self.levels[0].channels

    @property
    def pixel_size(self) -> float | None:
        """Of the finest level, in µm; None where it is not known."""
        return self.levels[0].pixel_size

    def level_for(self, shape: tuple[int, int]) -> Image:
        """The coarsest level of at least this (height, width) in px, else the finest.

        A level that lacks no more than 1 % of either side is taken, too.
        """
        fitting = [
            level
            for level in self.levels
            if all(
                have >= need * (1 - SIZE_TOLERANCE)
                for have, need in zip(level.shape, shape, strict=True)
            )
        ]
        return fitting[-1] if fitting else self.levels[0]

    def at(self, pixel_size: float) -> Image:
        """The whole slide at a pixel size, as an image that is read by region.

        The coarsest level that is fine enough is read, and averaged down where it is finer than
        wanted (a triangle filter as wide as the reduction, so that tiles fit each other).

        Args:
            pixel_size: Wanted, in µm. Within 1 % of a level's, that level is given as it is.

        Raises:
            InputError: The slide's own pixel size is unknown, or coarser than the wanted one.
        """
        own = self.levels[0].require_pixel_size()
        if not pixel_size > 0:
            raise InputError(
                f"{self.levels[0].source}: pixel size {pixel_size:g} µm is not above 0."
            )
        fine = [
            level
            for level in self.levels
            if level.require_pixel_size() <= pixel_size * (1 + SIZE_TOLERANCE)
        ]
        if not fine:
            raise InputError(
                f"{self.levels[0].source}: its pixels are {own:g} µm, and {pixel_size:g} µm were "
                f"asked for: what is finer than the slide is not in it. Ask for {own:g} µm or more."
            )
        level = fine[-1]
        scale = pixel_size / level.require_pixel_size()
        if abs(scale - 1) <= SIZE_TOLERANCE:
            return level
        height, width = (max(1, math.floor(side / scale + 1e-6)) for side in level.shape)
        contents = Contents(
            (height, width), len(level.channels), level.dtype, partial(Reduced, level, scale),
            notes=level.notes,
        )  # fmt: skip
        return Image(
            level.name, level.channels, contents, pixel_size=pixel_size, source=level.source
        )


def open_slide(
    path: str | os.PathLike[str],
    *,
    channels: Sequence[str] | None = None,
    pixel_size: float | None = None,
    override_pixel_size: float | None = None,
) -> Slide:
    """Open a slide with all its levels; nothing but tables is read.

    Args:
        path: Anything that `open_image` reads.
        channels: As for `open_image`.
        pixel_size, override_pixel_size: Of the finest level, in µm; as for `open_image`.

    Raises:
        InputError: As for `open_image`; or the levels of a pyramid do not fit each other.
        MissingExtraError: The format needs ``abbe[wsi]``.
    """
    image = open_image(
        path, channels=channels, pixel_size=pixel_size, override_pixel_size=override_pixel_size
    )
    return slide_of(image)


def slide_of(image: Image) -> Slide:
    """An open image with the coarser levels of its pyramid, if it has one.

    Raises:
        InputError: The levels are damaged or do not fit each other.
    """
    levels = [image]
    with decoding(image.source):
        found = image.coarser()
    for number, (shape, load) in enumerate(found, start=1):
        factors = [a / max(b, 1) for a, b in zip(image.shape, shape, strict=True)]
        if abs(factors[0] - factors[1]) > 0.05 * factors[0] or min(factors) <= 1 or 0 in shape:
            raise InputError(
                f"{image.source}: level {number} of the pyramid is {shape[0]} × {shape[1]} px, "
                f"which does not fit {image.shape[0]} × {image.shape[1]} px. Export the slide "
                "again."
            )
        own = image.pixel_size
        levels.append(
            Image(
                image.name,
                image.channels,
                Contents(shape, len(image.channels), image.dtype, load, notes=image.notes),
                pixel_size=None if own is None else own * (factors[0] + factors[1]) / 2,
                source=f"{image.source} (level {number} of its pyramid)",
            )
        )
    return Slide(tuple(levels))


class Reduced:
    """Pixels of an image averaged down by a factor that need not be whole."""

    def __init__(self, image: Image, scale: float) -> None:
        self.image, self.scale = image, scale

    def read(self, region: Region, channels: Sequence[int]) -> np.ndarray:
        """Pixels of ``region``, (len(channels), height, width)."""
        names = [self.image.channels[index] for index in channels]
        width = region.right - region.left
        row = self.scale**2 * width * len(channels) * self.image.dtype.itemsize
        rows = max(1, int(_BAND / row))
        bands = [
            self._band(
                Region(top, region.left, min(top + rows, region.bottom), region.right), names
            )
            for top in range(region.top, region.bottom, rows)
        ]
        return np.concatenate(bands, axis=1)

    def _band(self, region: Region, names: Sequence[str]) -> np.ndarray:
        margin = math.ceil(self.scale) + 1  # how far the filter reaches
        top, left, bottom, right = (side * self.scale for side in region)
        height, width = self.image.shape
        source = Region(
            max(0, math.floor(top) - margin),
            max(0, math.floor(left) - margin),
            min(height, math.ceil(bottom) + margin),
            min(width, math.ceil(right) + margin),
        )
        pixels = self.image.read(source, names)
        box = (
            left - source.left,
            top - source.top,
            min(right - source.left, float(pixels.shape[2])),
            min(bottom - source.top, float(pixels.shape[1])),
        )
        size = (region.right - region.left, region.bottom - region.top)
        return np.stack([_resized(plane, size, box) for plane in pixels])


def _resized(
    plane: np.ndarray, size: tuple[int, int], box: tuple[float, float, float, float]
) -> np.ndarray:
    method = PIL.Image.Resampling.BILINEAR  # Pillow widens it by the reduction
    if plane.dtype == np.uint8:
        return np.asarray(PIL.Image.fromarray(plane).resize(size, method, box))
    picture = PIL.Image.fromarray(plane.astype(np.float32)).resize(size, method, box)
    values = np.asarray(picture)
    return values.round().astype(plane.dtype) if plane.dtype.kind in "ui" else values
