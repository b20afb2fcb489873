"""Run a program that finds objects over an image of any size, and join what its tiles found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from abbe.errors import ConfigError, InputError
from abbe.imaging import Region
from abbe.imaging.windows import spans
from abbe.teachers.tiles import Pixels

SLACK = 4
"""px that an object's centroid may lie outside a tile's part, as two tiles differ a little."""


@dataclass(frozen=True)
class Objects:
    """What was found in an image or in one tile of it.

    Attributes:
        instances: (H, W) int, 0 for background.
        probability: (H, W) float32 of the foreground, where the program gives it.
    """

    instances: NDArray[np.integer]
    probability: NDArray[np.float32] | None = None


Finder = Callable[[NDArray[np.float32]], Objects]
"""(C, h, w) → the objects in it."""


def find_in_tiles(
    find: Finder, read: Pixels, shape: tuple[int, int], *, tile: int, halo: int, origin: str
) -> Objects:
    """The objects of an image of ``shape`` (H, W), looked at in tiles that share two halos.

    An object belongs to the tile in whose part of the image its centroid lies and is taken from it
    whole; one of which another tile gave more than half already is the same and left out.

    Args:
        find: the program, for one tile.
        read: a region of the prepared image.
        shape: of the image, in px.
        tile: longer images are cut into tiles of this side.
        halo: px that a tile sees beyond its part: at least the radius of the largest object.
        origin: the program, for messages.

    Raises:
        InputError: a tile's answer is not of its size, or an object is larger than the halo allows.
        ConfigError: tile and halo leave nothing of a tile.
    """
    if tile < 1 or halo < 0:
        raise ConfigError(f"tile {tile} and halo {halo} px: give a tile of at least 1")
    instances = np.zeros(shape, np.int32)
    probability: NDArray[np.float32] | None = None
    for rows in spans(shape[0], tile, halo):
        for columns in spans(shape[1], tile, halo):
            top, left = rows.start, columns.start
            seen = Region(top, left, rows.stop, columns.stop)
            part = Region(rows.core_start, columns.core_start, rows.core_stop, columns.core_stop)
            found = find(read(seen))
            _check(found, seen, origin)
            _add(found.instances, instances, seen, part, origin)
            if found.probability is not None:
                if probability is None:
                    probability = np.empty(shape, np.float32)
                inside = np.s_[part.top - top : part.bottom - top, :]
                probability[part.top : part.bottom, part.left : part.right] = found.probability[
                    inside
                ][:, part.left - left : part.right - left]
    return Objects(instances, probability)


def _check(found: Objects, seen: Region, origin: str) -> None:
    expected = (seen.bottom - seen.top, seen.right - seen.left)
    for name in ("instances", "probability"):
        values = getattr(found, name)
        if values is not None and values.shape != expected:
            raise InputError(
                f"{origin} answers {expected[0]} x {expected[1]} px with {name} of shape "
                f"{values.shape}"
            )


def _add(
    labels: NDArray[np.integer],
    instances: NDArray[np.int32],
    seen: Region,
    part: Region,
    origin: str,
) -> None:
    """Number the tile's own objects behind those that are there."""
    count = int(instances.max())
    height, width = labels.shape
    for index, place in enumerate(ndimage.find_objects(labels.astype(np.int32)), start=1):
        if place is None:
            continue
        mask = labels[place] == index
        rows, columns = np.nonzero(mask)
        row = rows.mean() + place[0].start + seen.top
        column = columns.mean() + place[1].start + seen.left
        if not (
            part.top - SLACK <= row < part.bottom + SLACK
            and part.left - SLACK <= column < part.right + SLACK
        ):
            continue
        here = instances[seen.top : seen.bottom, seen.left : seen.right][place]
        if (here[mask] > 0).mean() > 0.5:
            continue
        cut = (
            (place[0].start == 0 and seen.top > 0)
            or (place[1].start == 0 and seen.left > 0)
            or (place[0].stop == height and seen.bottom < instances.shape[0])
            or (place[1].stop == width and seen.right < instances.shape[1])
        )
        if cut:
            raise InputError(
                f"{origin}: the object around row {row:.0f}, column {column:.0f} is cut by the "
                f"edge of its tile, {height} x {width} px; choose a larger halo, or a larger tile"
            )
        count += 1
        here[mask & (here == 0)] = count
