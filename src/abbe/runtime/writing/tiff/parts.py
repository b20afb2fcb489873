"""Parts of a file of labels, encoded by whoever before the file is written: see `Block`.

A part is a square with all tiles of its first levels, so that parts need nothing of each other.
"""

import math
import tempfile
from collections.abc import Iterator
from functools import cache, partial
from typing import Any

import numpy as np

from abbe.imaging import Region
from abbe.runtime.job import Block
from abbe.runtime.tiling.work import Work
from abbe.runtime.writing.tiff.pyramid import (
    TILE,
    Level,
    Plane,
    Waiting,
    every_second,
    levels_of,
    regions,
)

LEVELS = 4
"""Levels of which a part has all tiles."""
PART = TILE << LEVELS - 1
"""Side of a part, px of the image."""


def parts_of(shape: tuple[int, int]) -> list[Block]:
    """The parts of a file, row by row."""
    rows, columns = (math.ceil(side / PART) for side in shape)
    return [
        Block((row, row + 1), (column, column + 1), "file")
        for row in range(rows)
        for column in range(columns)
    ]


def keep_part(
    block: Block, plane: Plane, dtype: np.dtype[Any], shape: tuple[int, int], work: Work
) -> None:
    """Put a part of a file into the work of its image.

    Args:
        block: One of `parts_of`.
        plane: Gives the labels of a region.
        dtype: What it gives.
        shape: (H, W) of the image.
        work: Where the part goes.
    """
    name = _name(block.rows[0], block.columns[0])
    if work.has(name, compressed=False):  # of a run that was interrupted
        return
    sizes, data, places = levels_of(shape), bytearray(), list[tuple[int, ...]]()
    with tempfile.TemporaryFile() as scratch:
        waiting = Waiting(scratch, dtype)
        for number, size in enumerate(sizes[:LEVELS]):
            halve = None if number == len(sizes) - 1 else every_second
            level = Level([plane], number, size, halve, waiting)
            for region in _tiles_in(block, number, size):
                encoded = level.encoded((0, region))
                places.append((number, region.top, region.left, len(data), len(encoded)))
                data += encoded
        if len(sizes) > LEVELS:
            corner = block.rows[0] * TILE // 2, block.columns[0] * TILE // 2
            work.put(f"{name}-half", waiting.get((LEVELS, 0, *corner)), compress=False)
    work.put(f"{name}-places", np.array(places), compress=False)
    # At last: where this is, all is.
    work.put(name, np.frombuffer(data, np.uint8), compress=False)


class KeptTiles:
    """The tiles of all parts that are in a work; several threads may ask at once."""

    def __init__(self, work: Work) -> None:
        self._part = cache(partial(_read, work))

    def __call__(self, level: int, region: Region) -> tuple[bytes, np.ndarray | None] | None:
        """A tile as it stands in the file, and what it adds to the first level of no part."""
        if level >= LEVELS:
            return None
        side = PART >> level
        part = self._part(region.top // side, region.left // side)
        if part is None:
            return None
        places, data, half = part
        start, size = places[level, region.top, region.left]
        return data[start : start + size].tobytes(), half if level == LEVELS - 1 else None


def _read(
    work: Work, row: int, column: int
) -> tuple[dict[tuple[int, ...], tuple[int, int]], np.ndarray, np.ndarray | None] | None:
    """Where the tiles of a part begin and how long they are, the tiles, and what it adds."""
    name = _name(row, column)
    if not work.has(name, compressed=False):
        return None
    listed = work.get(f"{name}-places", compressed=False).tolist()
    places = {tuple(place): (start, size) for *place, start, size in listed}
    half = f"{name}-half"
    adds = work.has(half, compressed=False)
    return (
        places,
        work.get(name, compressed=False),
        work.get(half, compressed=False) if adds else None,
    )


def _tiles_in(block: Block, level: int, size: tuple[int, int]) -> Iterator[Region]:
    """A part's tiles of a level of this size."""
    side = PART >> level
    top, left = block.rows[0] * side, block.columns[0] * side
    for region in regions((min(side, size[0] - top), min(side, size[1] - left)), TILE):
        yield Region(region.top + top, region.left + left, region.bottom + top, region.right + left)


def _name(row: int, column: int) -> str:
    return f"file-{row}-{column}"
