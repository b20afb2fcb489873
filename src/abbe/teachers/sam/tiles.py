"""Tiles of large images for SAM, and which tile answers for which object."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from abbe.errors import InputError
from abbe.imaging.windows import spans
from abbe.teachers.sam.prompts import ImagePrompts


@dataclass(frozen=True)
class Tile:
    """A part of an image that is shown to SAM at once, and the part of it whose objects count."""

    top: int
    left: int
    bottom: int
    right: int
    core: tuple[int, int, int, int]
    """top, left, bottom, right in px of the image."""

    def owns(self, centres: NDArray[np.floating]) -> NDArray[np.bool_]:
        """Which of the centres (N, 2) x, y lie in the core."""
        top, left, bottom, right = self.core
        x, y = centres[:, 0], centres[:, 1]
        return (x >= left) & (x < right) & (y >= top) & (y < bottom)

    def cuts(self, extents: NDArray[np.floating]) -> NDArray[np.bool_]:
        """Which of the extents (N, 4) x0, y0, x1, y1 reach beyond the tile."""
        x0, y0, x1, y1 = extents.T
        return (x0 < self.left) | (y0 < self.top) | (x1 > self.right) | (y1 > self.bottom)


def tiles_of(shape: tuple[int, int], side: int | None, halo: int) -> list[Tile]:
    """The tiles of an image of ``shape`` (H, W); one for all of it where ``side`` is None."""
    side = side or max(shape)
    return [
        Tile(
            rows.start,
            columns.start,
            rows.stop,
            columns.stop,
            (rows.core_start, columns.core_start, rows.core_stop, columns.core_stop),
        )
        for rows in spans(shape[0], side, halo)
        for columns in spans(shape[1], side, halo)
    ]


def require_whole(prompts: ImagePrompts, tiles: Sequence[Tile], id: str) -> None:
    """Refuse prompts that the tile which owns them does not see wholly: SAM would cut the object.

    Raises:
        InputError: naming the largest of them, and the halo and tile that would do.
    """
    cut = [prompts.take(tile.owns(prompts.centres)) for tile in tiles]
    cut = [some.take(tile.cuts(some.extents)) for tile, some in zip(tiles, cut, strict=True)]
    extents = np.concatenate([some.extents for some in cut])
    if not len(extents):
        return
    centres = np.concatenate([some.centres for some in cut])
    # An object's centre lies at least the halo inside its tile, so that halo must reach its edge.
    reach = np.abs(extents - np.tile(centres, 2)).max(axis=1)
    x0, y0, x1, y1 = extents[reach.argmax()]
    halo = int(np.ceil(reach.max()))
    raise InputError(
        f"{id}: {len(extents)} of {len(prompts)} prompts reach beyond their tile, the largest with "
        f"{x1 - x0:g} x {y1 - y0:g} px at x {x0:g}, y {y0:g}. Choose halo {halo} and a tile of at "
        f"least {4 * halo} px, or leave tile out"
    )
