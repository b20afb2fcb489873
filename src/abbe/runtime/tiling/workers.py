"""Chooses how many tiles or images are worked on at a time."""

import math
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

from abbe.errors import InputError
from abbe.imaging import Image, Reading
from abbe.machine.threads import cores
from abbe.runtime.package import PackageDescription
from abbe.runtime.tiling.cutting import scale_for

Shape = tuple[float, float]
"""(H, W) at the network's pixel size, px."""
PART = 2048
"""Side, px, of the parts in which the masks of a promptable package are kept and written."""
MOST_EMBEDDED = 4
"""Images embedded at a time: each holds the encoder's activations, GB with SAM's largest."""


def useful_workers(shapes: Iterable[Shape], tile: int, most: int | None = None) -> int:
    """As many as there are tiles, ``most`` at most.

    Args:
        shapes: Of the images, looked at until there are tiles enough.
        tile: Side of the network's windows, px.
        most: None for the number of cores.
    """
    most = most or cores()
    tiles = 0
    for shape in shapes:
        tiles += math.prod(max(1, math.ceil(side / tile)) for side in shape)
        if tiles >= most:
            break
    return max(1, min(tiles, most))


def prompted_workers(shapes: Iterable[Shape]) -> int:
    """How many images to embed at a time, `MOST_EMBEDDED` at most.

    Images of one part are counted; one of several parts has all threads to itself.

    Args:
        shapes: Of the images, looked at until there are enough.
    """
    most = min(MOST_EMBEDDED, cores())
    small = (shape for shape in shapes if max(shape) <= PART)
    return max(1, len(list(islice(small, most))))


def shape_of(image: Image, description: PackageDescription) -> Shape:
    """The shape that the network sees.

    Raises:
        InputError: The package needs a pixel size and the image has none, or another by far.
    """
    scale = scale_for(image, description)
    return image.shape[0] * scale, image.shape[1] * scale


def shapes_in_files(
    images: Iterable[Path],
    description: PackageDescription,
    reading: Reading,
) -> Iterator[Shape]:
    """The shapes of images, by and by; of a file that cannot be used one px, and no error yet.

    Args:
        images: Files.
        description: Of the package that is to see them.
        reading: How the user has files read.
    """
    for path in images:
        try:
            image = reading.open(path)
            yield shape_of(image, description)
        except InputError:  # said when the image is due
            yield 1.0, 1.0
