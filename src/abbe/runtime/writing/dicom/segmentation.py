"""The class of each pixel as a DICOM segmentation, a segment a class: tiles of one bit a pixel.

Viewers lay a segmentation over a slide where it has the pixels of one of the slide's levels, so it
is written at the coarsest level that is as fine as the network saw the slide.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from concurrent.futures import Executor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from abbe.files import atomic_path
from abbe.imaging import Region
from abbe.imaging.formats.dicom.series import Source
from abbe.runtime.tiling.executors import in_order
from abbe.runtime.writing.dicom.told import (
    Classes,
    algorithm,
    category_and_type,
    colour,
    instance,
    text,
)
from abbe.runtime.writing.tiff.pyramid import regions

if TYPE_CHECKING:
    from highdicom.seg import SegmentDescription

    from abbe.runtime.package import PackageDescription

_PART = 1024
"""px of a level; so much is filled at a time."""
MOST_OBJECTS = 255
"""Objects of a single image that have a segment each; more are joined by their classes."""

SegmentsIn = Callable[[Region], np.ndarray]
"""The numbers of segments in a region of the image at full resolution; 0 where there is none."""


def write_segmentation(
    path: Path,
    source: Source,
    segments_in: SegmentsIn,
    classes: Classes,
    pool: Executor,
    most: int,
    *,
    seen: tuple[int, int],
    description: PackageDescription,
) -> None:
    """Write a segmentation (BINARY), atomically.

    Args:
        path: The file.
        source: What it refers to.
        segments_in: The numbers of segments, from 1, in a region of the image.
        classes: What they stand for, in the order of their numbers.
        pool, most: Threads, and how many parts to have in hand.
        seen: (H, W) of the image in px of the network.
        description: Of the package.
    """
    from highdicom.seg import Segmentation

    level = _level(source, seen)
    segments = [
        _segment(number, name, classes, description) for number, name in enumerate(classes.names, 1)
    ]
    kind = np.uint8 if len(segments) <= np.iinfo(np.uint8).max else np.uint16
    # A slide has more pixels than memory: the system keeps those that are looked at.
    with tempfile.TemporaryFile() as file:
        shape = source.shape(level)
        numbers = np.memmap(file, kind, "w+", shape=shape)
        _fill(numbers, source.shape(0), segments_in, pool, most)
        if not numbers.any() and source.slide:
            # Tiles without a segment are left out, but where all are: the fewest are written then.
            level = len(source.levels) - 1
            numbers = np.zeros(source.shape(level), kind)
        written: Any = Segmentation(
            source_images=[source.levels[level]],
            pixel_array=numbers[None],
            segmentation_type="BINARY",
            segment_descriptions=segments,
            tile_pixel_array=source.slide,
            **instance(description, f"Segments by {description.title}"),
        )
        del numbers
        with atomic_path(path) as temporary:
            written.save_as(temporary)


def _level(source: Source, seen: tuple[int, int]) -> int:
    """The coarsest level that has as many pixels as the network saw, else the finest."""
    fit = [
        level
        for level in range(len(source.levels))
        # Sides of levels are rounded.
        if all(side >= own - 1 for side, own in zip(source.shape(level), seen, strict=True))
    ]
    return max(fit, default=0)


def _segment(
    number: int, name: str, classes: Classes, description: PackageDescription
) -> SegmentDescription:
    from highdicom.seg import SegmentDescription

    category, kind = category_and_type(name)
    return SegmentDescription(
        number, text(name), category, kind, "AUTOMATIC", algorithm(description),
        display_color=colour(classes.colours[number - 1]),
    )  # fmt: skip


def _fill(
    numbers: np.ndarray,
    shape: tuple[int, int],
    segments_in: SegmentsIn,
    pool: Executor,
    most: int,
) -> None:
    """Fill a level with what lies in the image at the centres of its pixels."""
    centres = [
        np.minimum(((np.arange(side) + 0.5) * full / side).astype(np.int64), full - 1)
        for side, full in zip(numbers.shape, shape, strict=True)
    ]

    def fill(part: Region) -> None:
        rows, columns = centres[0][part.top : part.bottom], centres[1][part.left : part.right]
        there = Region(int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1)
        own = segments_in(there)
        chosen = own[(rows - there.top)[:, None], (columns - there.left)[None]]
        if chosen.any():  # what is never written to takes no place
            numbers[part.top : part.bottom, part.left : part.right] = chosen

    for _ in in_order(pool, fill, regions((numbers.shape[0], numbers.shape[1]), _PART), most):
        pass
