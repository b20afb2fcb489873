"""From the image's pixels to what the network sees: normalised, resampled, padded."""

import math

import numpy as np
import PIL.Image

from abbe.imaging import Image, Region, normalise, slide_of
from abbe.imaging.windows import mirrored
from abbe.runtime.tiling.grid import Grid


def level_to_read(image: Image, grid: Grid) -> Image:
    """The image, or the coarsest level of its pyramid that is as fine as the network's pixels.

    Raises:
        InputError: The levels of the pyramid are damaged or do not fit each other.
    """
    reduced = grid.shape[0] < image.shape[0] or grid.shape[1] < image.shape[1]
    return slide_of(image).level_for(grid.shape) if reduced else image


def read_window(
    image: Image, channels: tuple[str, ...], limits: np.ndarray, grid: Grid, window: Region
) -> np.ndarray:
    """What the network sees of a window.

    Pixels are normalised, then resampled linearly (over a wider neighbourhood where the image is
    reduced, so that nothing aliases). Each value depends on its surroundings in the image alone,
    not on the window. Beyond the image's lower and right border it is mirrored, the border pixel
    repeated.

    Args:
        image: The image, or a level of its pyramid.
        channels: Channels to read, in order.
        limits: (C, 2) what becomes 0 and 1 of these.
        grid: How the image is cut.
        window: In px of the network; it may reach beyond the image.

    Returns:
        (C, h, w) float32 in [0, 1] of the window's size.

    Raises:
        InputError: The image cannot be read.
    """
    inside = Region(
        window.top, window.left, min(window.bottom, grid.shape[0]), min(window.right, grid.shape[1])
    )
    if image.shape == grid.shape:
        pixels = normalise(image.read(inside, channels), limits)
    else:
        pixels = _resampled(image, channels, limits, grid, inside)
    below, beside = window.bottom - inside.bottom, window.right - inside.right
    return mirrored(pixels, below, beside)


def _resampled(
    image: Image, channels: tuple[str, ...], limits: np.ndarray, grid: Grid, inside: Region
) -> np.ndarray:
    top, bottom, first_row, last_row = _source(inside.top, inside.bottom, image, grid, 0)
    left, right, first_column, last_column = _source(inside.left, inside.right, image, grid, 1)
    source = Region(first_row, first_column, last_row, last_column)
    pixels = normalise(image.read(source, channels), limits)
    size = inside.right - inside.left, inside.bottom - inside.top
    box = left - first_column, top - first_row, right - first_column, bottom - first_row
    planes = [
        np.asarray(PIL.Image.fromarray(plane).resize(size, PIL.Image.Resampling.BILINEAR, box=box))
        for plane in pixels
    ]
    return np.clip(np.stack(planes), 0, 1)


def _source(
    start: int, stop: int, image: Image, grid: Grid, axis: int
) -> tuple[float, float, int, int]:
    """Where an interval lies in the image, and the whole px of it that its values depend on."""
    full = image.shape[axis]
    ratio = full / grid.shape[axis]
    first, last = start * ratio, min(stop * ratio, full)
    reach = math.ceil(max(ratio, 1.0)) + 1
    return first, last, max(math.floor(first) - reach, 0), min(math.ceil(last) + reach, full)
