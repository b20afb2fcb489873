"""Which channels of an image a package sees, and what was taken for granted of it."""

from collections.abc import Sequence
from itertools import chain
from weakref import WeakKeyDictionary

import numpy as np

from abbe.errors import InputError
from abbe.imaging import Image, Region, lacking, matching
from abbe.imaging.formats.raster import RGB
from abbe.imaging.normalisation import sampled_pixels
from abbe.runtime.package import PackageDescription
from abbe.runtime.tiling.cutting import goes_by_diameter

MOST_COMPARED = 1 << 26
"""Pixels of an image that is looked through for colours; of a larger one they are not doubted."""
_BAND = 1024
_WINDOW, _BAND_PIXELS = 512, 1 << 24


def channels_for(image: Image, wanted: tuple[str, ...]) -> tuple[str, ...]:
    """The image's channels that a package sees; an image of one channel has the only one wanted.

    So has a grey image that was saved in colours, red, green and blue alike.

    Raises:
        InputError: Channels are missing.
    """
    seen = matching(image.channels, wanted)
    if seen is None and len(wanted) == 1 and _looked_through(image):
        return image.channels[:1]
    if seen is None:
        raise InputError(lacking(image.source, image.channels, wanted, "the package"))
    return seen


_GREY: WeakKeyDictionary[Image, bool] = WeakKeyDictionary()


def _looked_through(image: Image) -> bool:
    """`is_grey`, once for an image that is asked for its channels again and again."""
    if image not in _GREY:
        _GREY[image] = is_grey(image)
    return _GREY[image]


def is_grey(image: Image) -> bool:
    """Whether red, green and blue are alike in every pixel; never of an image above 67 megapixels.

    Raises:
        InputError: The image cannot be read.
    """
    height, width = image.shape
    if sorted(image.channels) != sorted(RGB) or height * width > MOST_COMPARED:
        return False
    for top in range(0, height, _BAND):
        first, *others = image.read(Region(top, 0, min(top + _BAND, height), width))
        if any((other != first).any() for other in others):
            return False
    return True


def flat_channels(image: Image, channels: Sequence[str]) -> tuple[str, ...]:
    """Of the channels that a package sees, those of one value in all pixels, a sentence each.

    Whatever the package does to values, nothing can be found by them. No more is read than tells:
    of most images a window in the middle, else windows all over it, then all of it.

    Raises:
        InputError: The image cannot be read.
    """
    height, width = image.shape
    top, left = max(0, height - _WINDOW) // 2, max(0, width - _WINDOW) // 2
    rows = max(1, _BAND_PIXELS // width)
    middle = Region(top, left, min(top + _WINDOW, height), min(left + _WINDOW, width))
    bands = (Region(at, 0, min(at + rows, height), width) for at in range(0, height, rows))
    flat, values = list(dict.fromkeys(channels)), dict[str, np.generic]()
    for region in chain((middle, None), bands):
        if not flat:
            break
        read = sampled_pixels(image, flat) if region is None else image.read(region, flat)
        planes = dict(zip(flat, read, strict=True))
        values = values or {name: plane[0, 0] for name, plane in planes.items()}
        flat = [name for name, plane in planes.items() if (plane == values[name]).all()]
    return tuple(
        f"Nothing can be found by its channel {name}: it is {values[name]:g} in all pixels."
        for name in flat
    )


def remarks_on(
    image: Image, description: PackageDescription, channels: tuple[str, ...]
) -> tuple[str, ...]:
    """What was taken for granted of an image that a package sees, in sentences for people.

    Args:
        image: The image.
        description: Of the package.
        channels: The image's channels that the package sees.
    """
    remarks = image.notes
    if channels != description.channels:
        remarks += (
            f"Its one channel, {image.channels[0]}, is taken for {description.channels[0]}."
            if len(image.channels) == 1
            else "It is grey, though saved in colours: red, green and blue are alike, and one of "
            f"them is taken for {description.channels[0]}.",
        )
    if image.diameter is not None and not goes_by_diameter(image, description):
        remarks += (
            f"Its pixel size, {image.pixel_size:g} µm, and the package's are known: they tell its "
            "scale, and --diameter does not.",
        )
    if (
        image.diameter is None
        and description.pixel_size is None
        and description.image_size is None
        and image.pixel_size
    ):
        remarks += (
            "The package does not say for which pixel size it was made: images are seen as they "
            "are, whatever theirs. If you know it, state it with abbe export --pixel-size; or say "
            "with --diameter how large the objects are.",
        )
    return remarks
