"""A small picture of the whole image, with the objects' outlines on it or whatever was found."""

from collections.abc import Callable
from concurrent.futures import Executor
from pathlib import Path

import numpy as np

from abbe.imaging import Image, Region, outlines, slide_of, view, write_png
from abbe.imaging.pictures.scale_bar import draw_scale_bar
from abbe.runtime.tiling.executors import in_order
from abbe.runtime.tiling.field import Labels

SIDE = 2048
"""The longer side of the picture, at most, px."""
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
) -> None:
    """Write a PNG, atomically: every n-th pixel, and where objects end between them.

    Args:
        path: The picture.
        labels: The objects.
        image: The image at full resolution.
        channels, limits: The channels to show and their percentile limits.
        pool, most: Threads, and how many bands to have in hand.
    """

    def outline(region: Region, step: int, colours: np.ndarray) -> None:
        colours[outlines(labels.read(region)[::step, ::step])] = _OUTLINE

    write_png(path, overview(image, channels, limits, outline, pool, most))


def overview(
    image: Image,
    channels: tuple[str, ...],
    limits: np.ndarray,
    paint: Paint,
    pool: Executor,
    most: int,
) -> np.ndarray:
    """Every n-th pixel of an image, painted on, (H, W, 3) uint8, at most `SIDE` px a side.

    Of a pyramid the coarsest level that has so many pixels is read. Where the pixel size is known,
    a bar in the corner tells the scale.

    Args:
        image: The image at full resolution.
        channels, limits: The channels to show and their percentile limits.
        paint: What to draw.
        pool, most: Threads, and how many bands to have in hand.

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
        rows = np.arange(region.top, region.bottom, step) * level.shape[0] // height
        columns = np.arange(region.left, region.right, step) * level.shape[1] // width
        part = Region(int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1)
        pixels = level.read(part, channels)[:, rows - rows[0]][:, :, columns - columns[0]]
        colours = view(pixels, channels, limits)
        paint(region, step, colours)
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
