"""Objects in px of an image that is coarser than the network's: each in one part, none too small.

Where the image has fewer pixels than the network saw, an image pixel takes the number that its
centre lies in. What is thinner than a pixel is cut by that, and small objects shrink to specks. So
parts are looked for once more in the image's own pixels: of each object the largest stays.
"""

from concurrent.futures import Executor
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from abbe.runtime.tiling.executors import in_order
from abbe.runtime.tiling.field import Labels, parts_of
from abbe.runtime.tiling.grid import Grid, Tile
from abbe.runtime.tiling.seams import Numbering, Pieces, groups_of, number_objects, pieces_of


class _Seen(NamedTuple):
    """What is kept of a tile: its parts, the object of each, and the numbers at its four sides."""

    pieces: Pieces
    object_of: np.ndarray
    top: np.ndarray
    bottom: np.ndarray
    left: np.ndarray
    right: np.ndarray


def numbering_of_parts(
    labels: Labels, pool: Executor, most: int, *, minimum_area: int
) -> Numbering:
    """Number the largest 4-connected part of each object in px of the image.

    Args:
        labels: Objects of an image that is coarser than the network's pixels.
        pool, most: Threads, and how many tiles to have in hand.
        minimum_area: px of the image; an object whose largest part has fewer is left out.

    Returns:
        By tile the image's number of each part that `parts_of` finds in the tile's core, for
        `Labels`; objects in reading order of their first pixel in the image.
    """
    grid = labels.grid
    tiles = [tile for tile in grid.tiles if _has_pixels(grid, tile)]
    place = {tile: at for at, tile in enumerate(tiles)}
    means = labels.numbering.means

    def look(tile: Tile) -> _Seen:
        core, region = labels.core(tile), grid.image_core(tile)
        parts = parts_of(core)
        object_of = np.zeros(int(parts.max(initial=0)) + 1, np.int64)
        object_of[parts] = core
        sides = parts[0], parts[-1], parts[:, 0], parts[:, -1]
        copies = (side.copy() for side in sides)  # views would keep the whole tile
        pieces = pieces_of(parts, region, region)
        if means is not None:
            pieces = replace(pieces, probability=pieces.area[:, None] * means[object_of])
        return _Seen(pieces, object_of, *copies)

    seen = list(in_order(pool, look, tiles, most))
    matches = []
    for at, tile in enumerate(tiles):
        right, below = Tile(tile.row, tile.column + 1), Tile(tile.row + 1, tile.column)
        if (other := place.get(right)) is not None:
            borders = seen[at].right, seen[other].left
            matches.append((at, other, _touching(*borders, seen[at], seen[other])))
        if (other := place.get(below)) is not None:
            borders = seen[at].bottom, seen[other].top
            matches.append((at, other, _touching(*borders, seen[at], seen[other])))
    pieces = _largest([each.pieces for each in seen], [each.object_of for each in seen], matches)
    found = number_objects(pieces, matches, minimum_area)
    return _of_all_tiles(found, grid, tiles)


def _has_pixels(grid: Grid, tile: Tile) -> bool:
    """Whether a pixel of the image has its centre in the tile's core."""
    top, left, bottom, right = grid.image_core(tile)
    return top < bottom and left < right


def _touching(here: np.ndarray, there: np.ndarray, one: _Seen, other: _Seen) -> np.ndarray:
    """Pairs of parts, (m, 2), of one object that touch along a border."""
    same = (here > 0) & (there > 0) & (one.object_of[here] == other.object_of[there])
    return np.unique(np.stack([here[same], there[same]], axis=1), axis=0)


def _largest(
    pieces: list[Pieces],
    object_of: list[np.ndarray],
    matches: list[tuple[int, int, np.ndarray]],
) -> list[Pieces]:
    """The pieces, with no area left to those that are not of their object's largest part."""
    start = np.concatenate([[0], np.cumsum([len(each.area) for each in pieces])])
    area = np.concatenate([each.area for each in pieces])
    owner = np.concatenate(object_of)
    edges = [pairs + np.array([start[a], start[b]]) for a, b, pairs in matches]
    joined = np.concatenate(edges) if edges else np.zeros((0, 2), np.int64)
    groups, group = groups_of(joined, len(area))
    total = np.bincount(group, area, minlength=groups)
    # By object the largest group comes first, of equal ones the first in reading order.
    order = np.lexsort((group, -total[group], owner))
    objects, first = np.unique(owner[order], return_index=True)
    best = np.zeros(int(objects.max(initial=0)) + 1, np.int64)
    best[objects] = group[order[first]]
    kept = np.split(np.where(best[owner] == group, area, 0), start[1:-1])
    return [replace(each, area=own) for each, own in zip(pieces, kept, strict=True)]


def _of_all_tiles(found: Numbering, grid: Grid, tiles: list[Tile]) -> Numbering:
    """The numbering with an entry for each tile of the grid, in its places and pixels."""
    of_tile = [np.zeros(1, np.int32) for _ in grid.tiles]
    for tile, numbers in zip(tiles, found.of_tile, strict=True):
        of_tile[grid.number(tile)] = numbers
    places = np.array([grid.number(tile) for tile in tiles])
    rows, columns = grid.sources
    first = np.stack([rows[found.first[:, 0]], columns[found.first[:, 1]]], axis=1)
    return replace(found, of_tile=of_tile, last_tile=places[found.last_tile], first=first)
