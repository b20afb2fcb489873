"""A small picture of the whole image, with the objects' outlines on it or whatever was found."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from abbe.imaging import (
    Image,
    Region,
    class_colour,
    outlines,
    slide_of,
    view,
    with_legend,
    write_png,
)
from abbe.imaging.pictures.scale_bar import draw_scale_bar
from abbe.runtime.tiling.executors import in_order
from abbe.runtime.tiling.field import Labels

if TYPE_CHECKING:
    from abbe.runtime.tiling.tissue import Tissue

SIDE = 2048
"""The longer side of the picture, at most, px."""
_SHADES = {
    1: ("left out: glass", (210, 210, 210)),
    2: ("left out: ink", (220, 0, 0)),
    3: ("left out: blurred", (0, 80, 230)),
}
"""By the number of a verdict: what was left out of a slide, and its colour."""
_SHADING = 0.4
_OUTLINE = np.array([255, 220, 0], np.uint8)


Paint = Callable[[Region, int, np.ndarray], None]
"""Draws on a part of the picture, (h, w, 3) uint8: every n-th pixel of a region of the image."""


def write_overview(
    path: Path,
    labels: Labels,
    image: Image,
    channels: tuple[str, ...],
    limits: np.ndarray,
    pool: Executor,
    most: int,
    *,
    tissue: Tissue | None = None,
    types: Sequence[str] = (),
    type_of: np.ndarray | None = None,
) -> None:
    """Write a PNG, atomically: every n-th pixel, and where objects end between them.

    Args:
        path: The picture.
        labels: The objects.
        image: The image at full resolution.
        channels, limits: The channels to show and their percentile limits.
        pool, most: Threads, and how many bands to have in hand.
        tissue: What was taken of a slide; the rest is shaded, with a legend.
        types, type_of: Names of the objects' types, and the type of each by its number.
    """
    palette = np.array([class_colour(number) for number in range(len(types))], np.uint8)

    def outline(region: Region, step: int, colours: np.ndarray) -> None:
        shown = labels.read(region)[::step, ::step]
        drawn = outlines(shown)
        colours[drawn] = _OUTLINE if type_of is None else palette[type_of[shown[drawn]]]

    picture = overview(image, channels, limits, outline, pool, most, tissue)
    legend = [(name, class_colour(number)) for number, name in enumerate(types)]
    legend += legend_of(tissue)
    write_png(path, with_legend(picture, legend) if legend else picture)


def legend_of(tissue: Tissue | None) -> list[tuple[str, tuple[int, int, int]]]:
    """What was left out of a slide, each with its shade."""
    if tissue is None:
        return []
    return [shade for verdict, shade in _SHADES.items() if (tissue.verdicts == verdict).any()]


def overview(
    image: Image,
    channels: tuple[str, ...],
    limits: np.ndarray,
    paint: Paint,
    pool: Executor,
    most: int,
    tissue: Tissue | None = None,
) -> np.ndarray:
    """Every n-th pixel of an image, painted on, (H, W, 3) uint8, at most `SIDE` px a side.

    Of a pyramid the coarsest level that has so many pixels is read. Where the pixel size is known,
    a bar in the corner tells the scale.

    Args:
        image: The image at full resolution.
        channels, limits: The channels to show and their percentile limits.
        paint: What to draw.
        pool, most: Threads, and how many bands to have in hand.
        tissue: What was taken of a slide; the rest is shaded.

    Raises:
        InputError: The image cannot be read, or the levels of its pyramid do not fit each other.
    """
    height, width = image.shape
    step = -(-max(height, width) // SIDE)
    # Bands of whole steps, about a tile in height and in width: memory stays bounded.
    side = max(1024 // step, 1) * step
    picture = np.zeros((-(-height // step), -(-width // step), 3), np.uint8)
    level = slide_of(image).level_for((picture.shape[0], picture.shape[1])) if step > 1 else image

    def draw(region: Region) -> None:
        rows = _rows(region, step) * level.shape[0] // height
        columns = _columns(region, step) * level.shape[1] // width
        part = Region(int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1)
        pixels = level.read(part, channels)[:, rows - rows[0]][:, :, columns - columns[0]]
        colours = view(pixels, channels, limits)
        paint(region, step, colours)
        if tissue is not None:
            _shade(colours, tissue.at(_rows(region, step), _columns(region, step)))
        top, left = region.top // step, region.left // step
        picture[top : top + colours.shape[0], left : left + colours.shape[1]] = colours

    regions = [
        Region(top, left, min(top + side, height), min(left + side, width))
        for top in range(0, height, side)
        for left in range(0, width, side)
    ]
    for _ in in_order(pool, draw, regions, most):
        pass
    return draw_scale_bar(picture, image.pixel_size * step) if image.pixel_size else picture


def _rows(region: Region, step: int) -> np.ndarray:
    """Every n-th row of a region."""
    return np.arange(region.top, region.bottom, step)


def _columns(region: Region, step: int) -> np.ndarray:
    """Every n-th column of a region."""
    return np.arange(region.left, region.right, step)


def _shade(colours: np.ndarray, verdicts: np.ndarray) -> None:
    """Lay over what was left out the colour of its reason, in place."""
    for verdict, (_, colour) in _SHADES.items():
        here = verdicts == verdict
        shaded = (1 - _SHADING) * colours[here] + _SHADING * np.array(colour)
        colours[here] = np.round(shaded).astype(np.uint8)
