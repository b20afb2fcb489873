"""A picture of slides that shows which tiles were taken, and why others were not."""

import math
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import PIL.Image
import PIL.ImageDraw

from abbe.datasets.slides.brightfield import open_again
from abbe.datasets.slides.tile_index import TileIndex
from abbe.files import atomic_path
from abbe.imaging import contact_sheet
from abbe.imaging.tissue import overview

MIN_PICTURE, MAX_PICTURE = 640, 2048  # px, of a slide's longest side in the picture
LARGEST_SHEET = 64_000_000
"""About how many px the picture of many slides has; each of them is smaller then."""

_COLOURS: dict[str, tuple[int, int, int]] = {
    "taken": (0, 150, 60),
    "pen": (220, 0, 0),
    "blurred": (0, 80, 230),
}


def draw_tiles(indices: Sequence[TileIndex], path: str | os.PathLike[str]) -> Path:
    """Draw on an overview of each slide which tiles were taken (green) and why others were not.

    Tiles with ink are framed red, blurred ones blue; empty ones have no frame.

    Args:
        indices: One a slide.
        path: The PNG.
    """
    most = min(MAX_PICTURE, math.isqrt(LARGEST_SHEET // max(1, len(indices))))
    pictures = [_drawn(index, most) for index in indices]
    captions = [f"{index.path.name}: {index.counts()}" for index in indices]
    longest = max((max(picture.shape) for picture in pictures), default=most)
    sheet = contact_sheet(pictures, captions, tile_size=min(max(longest, MIN_PICTURE), most))
    target = Path(path)
    with atomic_path(target) as temporary:
        sheet.save(temporary, format="PNG")
    return target


def _drawn(index: TileIndex, most: int) -> np.ndarray:
    """(H, W, 3) uint8 of at most so many px a side."""
    image = overview(open_again(index.path, index.given_pixel_size))
    picture = PIL.Image.fromarray(np.ascontiguousarray(image.read().transpose(1, 2, 0)))
    draw = PIL.ImageDraw.Draw(picture)
    scale = index.pixel_size / image.require_pixel_size()
    for tile in index.tiles:
        if tile.verdict in _COLOURS:
            top, left, bottom, right = (side * scale for side in tile.region)
            draw.rectangle((left, top, right - 1, bottom - 1), outline=_COLOURS[tile.verdict])
    if max(picture.size) > most:
        picture.thumbnail((most, most))
    return np.asarray(picture)
