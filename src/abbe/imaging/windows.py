"""Covering an image with windows, and continuing it to sides that a network takes."""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from abbe.errors import ConfigError

LEAST_TILE = 7 / 8
"""Share of its side to which a window may shrink, so that windows share an image evenly."""


class Span(NamedTuple):
    """One window along one axis, in px: its core, and all that is looked at."""

    core_start: int
    core_stop: int
    start: int
    stop: int


def spans(length: int, tile: int, margin: int) -> list[Span]:
    """Cover ``length`` px by windows of ``tile`` px; the last is moved back to end with the image.

    Cores are disjoint and cover everything; each lies ``margin`` px inside its window, except at
    the image's own edges. Where tile, margin and length are multiples of a number, so is the
    start of every window.

    Raises:
        ConfigError: The margin leaves nothing of a tile.
    """
    if length <= tile:
        return [Span(0, length, 0, length)]
    if tile <= 2 * margin:
        raise ConfigError(
            f"a halo of {margin} px at each side leaves nothing of a tile of {tile} px: choose less"
        )
    found, covered = [], 0
    while covered < length:
        start = min(max(covered - margin, 0), length - tile)
        stop = start + tile
        end = length if stop == length else stop - margin
        found.append(Span(covered, end, start, stop))
        covered = end
    return found


def even_tile(length: int, tile: int, margin: int, divisor: int) -> int:
    """The smallest side by which as many windows as by ``tile`` still cover ``length`` px.

    The last window would otherwise show again what others have shown. It is a multiple of
    ``divisor``, as the others are, and at least ``LEAST_TILE`` of the tile, since some networks
    look at all of a window.
    """
    if length <= tile:
        return tile
    count = -(-(length - 2 * margin) // (tile - 2 * margin))
    enough = -(-(length + 2 * margin * (count - 1)) // count)
    least = max(enough, math.ceil(LEAST_TILE * tile), 2 * margin + 1)
    return min(-(-least // divisor) * divisor, tile)


def mirrored(pixels: NDArray, below: int, beside: int) -> NDArray:
    """An image (C, H, W), continued at its lower and right border by so many mirrored px.

    The border px is repeated; an image smaller than its continuation is mirrored back and forth.
    """
    if not (below or beside):
        return pixels
    return np.pad(pixels, ((0, 0), (0, below), (0, beside)), mode="symmetric")


def pad_to(pixels: NDArray, divisor: int) -> NDArray:
    """An image (C, H, W), mirrored to sides that ``divisor`` divides."""
    return mirrored(pixels, -pixels.shape[1] % divisor, -pixels.shape[2] % divisor)
