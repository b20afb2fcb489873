"""The connected areas of each class, joined across tiles: what regions are outlined as.

Cores of tiles do not overlap, so an area that lies in several of them is joined where two pixels of
its class touch across a border. The result is that of the whole image, whatever the tiles.

Of the network's pixels and the image's the coarser ones are looked at. Where the image has fewer,
areas of the network's pixels would come back in parts, as specks, and apart where the image's
touch; where it has more, each area only grows.
"""

from concurrent.futures import Executor
from dataclasses import dataclass, replace

import cc3d
import numpy as np

from abbe.runtime.tiling.executors import in_order
from abbe.runtime.tiling.field import ClassMap, Labels
from abbe.runtime.tiling.grid import Tile
from abbe.runtime.tiling.seams import Pieces, number_objects, pieces_of
from abbe.runtime.tiling.tiles import classes_name, labels_name


@dataclass(frozen=True)
class Areas:
    """Connected areas, each of one class.

    Attributes:
        labels: Areas 1…n in reading order of their first pixel; 0 where none is.
        class_of: (n + 1,) the number of each area's class.
    """

    labels: Labels
    class_of: np.ndarray


def find_areas(
    classes: ClassMap, pool: Executor, most: int, *, minimum_area: int, skip: int | None = None
) -> Areas:
    """The 4-connected areas of an image, found tile by tile.

    Args:
        classes: The class of each pixel.
        pool, most: Threads, and how many tiles to have in hand.
        minimum_area: px of the network, or of the image where that is coarser; smaller areas are
            left out.
        skip: Number of a class whose areas are not wanted.
    """
    coarser, work = classes.grid.coarser_image, classes.work
    # Areas are known in the cores alone, so a tile's field is its core.
    grid = classes.grid.in_image if coarser else replace(classes.grid, halo=0)

    def label(tile: Tile) -> tuple[Pieces, np.ndarray]:
        if coarser:
            own = classes.read(grid.core(tile))
        else:
            own = work.get(classes_name(tile), compressed=True)
        numbers = own.astype(np.uint16) + 1
        if skip is not None:
            numbers[own == skip] = 0
        areas = cc3d.connected_components(numbers, connectivity=4).astype(np.int32)
        work.put(labels_name(tile), areas, compress=True)
        core = grid.core(tile)
        class_of = np.zeros(int(areas.max(initial=0)) + 1, np.int64)
        class_of[areas] = own
        return pieces_of(areas, core, core), class_of

    labelled = list(in_order(pool, label, grid.tiles, most))
    pieces, class_of = [each for each, _ in labelled], [each for _, each in labelled]

    def read(tile: Tile) -> np.ndarray:
        return work.get(labels_name(tile), compressed=True)

    def seams(tile: Tile) -> list[tuple[int, int, np.ndarray]]:
        own, here, found = read(tile), grid.number(tile), []
        right, below = Tile(tile.row, tile.column + 1), Tile(tile.row + 1, tile.column)
        for other, border, side in ((right, own[:, -1], np.s_[:, 0]), (below, own[-1], np.s_[0])):
            if other.row < len(grid.rows) and other.column < grid.width:
                there = grid.number(other)
                beyond = read(other)[side]
                found.append(
                    (here, there, _touching(border, beyond, class_of[here], class_of[there]))
                )
        return found

    matches = [each for found in in_order(pool, seams, grid.tiles, most) for each in found]
    numbering = number_objects(pieces, matches, minimum_area)
    known = np.zeros(numbering.count + 1, np.int64)
    for numbers, of_tile in zip(numbering.of_tile, class_of, strict=True):
        known[numbers] = of_tile
    return Areas(Labels(grid, numbering, work), known)


def _touching(
    here: np.ndarray, there: np.ndarray, class_here: np.ndarray, class_there: np.ndarray
) -> np.ndarray:
    """Pairs of areas, (m, 2), of one class that touch along a border."""
    same = (here > 0) & (there > 0) & (class_here[here] == class_there[there])
    return np.unique(np.stack([here[same], there[same]], axis=1), axis=0)
