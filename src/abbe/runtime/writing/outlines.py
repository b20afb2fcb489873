"""The outlines of all objects of an image, tile by tile, with those on seams joined."""

from collections.abc import Iterator
from concurrent.futures import Executor

import numpy as np

from abbe.runtime.tiling.executors import in_order
from abbe.runtime.tiling.field import Labels
from abbe.runtime.tiling.grid import Tile
from abbe.runtime.writing.contours import Edges, Rings, edges_of, rings_of, without_seams


def outlines(labels: Labels, pool: Executor, most: int) -> Iterator[Rings]:
    """Rings of every object, each object once and whole; x and y in px of the image.

    An object that lies in several tiles comes after the last of them, so that no more edges are
    kept than those of a row of tiles.
    """
    numbering, grid = labels.numbering, labels.grid

    def of_tile(tile: Tile) -> tuple[Rings, Edges]:
        region = grid.image_core(tile)
        edges = edges_of(labels.core(tile), region.top, region.left)
        alone = numbering.tiles_of[edges.number] == 1
        return rings_of(edges.of(alone)), edges.of(~alone)

    shared: list[Edges] = []
    for tile, (rings, rest) in zip(
        grid.tiles, in_order(pool, of_tile, grid.tiles, most), strict=True
    ):
        yield rings
        shared.append(rest)
        if tile.column == grid.width - 1:
            edges = _joined(shared)
            done = numbering.last_tile[edges.number] <= grid.number(tile)
            yield rings_of(without_seams(edges.of(done)))
            shared = [edges.of(~done)]


def _joined(parts: list[Edges]) -> Edges:
    return Edges(
        np.concatenate([part.number for part in parts]),
        np.concatenate([part.start for part in parts]),
        np.concatenate([part.direction for part in parts]),
    )
