"""A small picture of the whole image, coloured by class, with a legend."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from abbe.imaging import Image, Region, class_colour, with_legend, write_png
from abbe.runtime.writing.overview import legend_of, overview

if TYPE_CHECKING:
    from abbe.runtime.tiling.tissue import Tissue

TINT = 0.45
"""How much of the class's colour is laid over the image, 0 to 1."""


def write_class_overview(
    path: Path,
    image: Image,
    channels: tuple[str, ...],
    limits: np.ndarray,
    classes_in: Callable[[Region, int], np.ndarray],
    names: Sequence[str],
    *,
    pool: Executor,
    most: int,
    plain: int | None = None,
    tissue: Tissue | None = None,
) -> None:
    """Write a PNG, atomically: every n-th pixel, tinted by its class.

    Args:
        path: The picture.
        image: The image at full resolution.
        channels, limits: The channels to show and their percentile limits.
        classes_in: Class numbers (h, w) of every n-th pixel of a region.
        names: Of the classes, in the order of their numbers.
        pool, most: Threads, and how many bands to have in hand.
        plain: Number of a class that is not tinted.
        tissue: What was taken of a slide; the rest is shaded.
    """
    colours = np.array([class_colour(number) for number in range(len(names))], np.float32)

    def paint(region: Region, step: int, picture: np.ndarray) -> None:
        numbers = classes_in(region, step)
        tinted = (1 - TINT) * picture + TINT * colours[numbers]
        if plain is not None:
            tinted = np.where((numbers == plain)[..., None], picture, tinted)
        picture[:] = np.round(tinted).astype(np.uint8)

    picture = overview(image, channels, limits, paint, pool, most, tissue)
    shown = [(name, class_colour(n)) for n, name in enumerate(names) if n != plain]
    write_png(path, with_legend(picture, [*shown, *legend_of(tissue)]))
