"""From the tiles' own objects to those of the image: matched at seams, numbered in reading order.

Each tile looks for objects in its core and the halo around it. Where two neighbouring tiles look at
the same pixels, they find the same objects as long as these fit the halo, so the pieces on both
sides of a seam are known to be one object. An object larger than the halo is matched by the part
that both see. Every pixel is answered for by one tile, the one in whose core it lies: nothing is
counted twice and nothing is cut silently.
"""

from collections.abc import Iterable
from dataclasses import dataclass, fields

import numpy as np

from abbe.imaging import Region
from abbe.runtime.postprocess.types import shares_of
from abbe.runtime.tiling.grid import intersection
from abbe.runtime.tiling.work import Work

# Two tiles mean the same object if what they see of it agrees to more than this IoU. Above one
# half, an object has at most one partner.
SAME_OBJECT = 0.5


@dataclass(frozen=True)
class Pieces:
    """The objects of one tile as far as they lie in its core; index = number in the tile.

    Attributes:
        area: (n + 1,) px in the core; 0 where an object lies in the halo only.
        first_row, first_column: (n + 1,) the first pixel of each in reading order, in px of the
            whole image at the network's pixel size.
        probability: (n + 1, M) sums over the pixels in the core of the foreground's probability
            and of each type's; None where none is known.
    """

    area: np.ndarray
    first_row: np.ndarray
    first_column: np.ndarray
    probability: np.ndarray | None = None


def pieces_of(
    labels: np.ndarray, field: Region, core: Region, probability: np.ndarray | None = None
) -> Pieces:
    """Measure what of a tile's objects lies in its core.

    Args:
        labels: (h, w) of the field: the tile's objects, 0 = background.
        field, core: Where both lie.
        probability: As in `Pieces`.
    """
    inside = crop(labels, field, core)
    count = int(labels.max(initial=0)) + 1
    numbers = inside.ravel()
    pixels = np.flatnonzero(numbers)
    area = np.bincount(numbers[pixels], minlength=count)
    first = np.zeros(count, np.int64)
    first[numbers[pixels[::-1]]] = pixels[::-1]  # the last one written is the first pixel
    width = core.right - core.left
    return Pieces(area, first // width + core.top, first % width + core.left, probability)


def same_objects(
    here: np.ndarray, here_field: Region, there: np.ndarray, there_field: Region
) -> np.ndarray:
    """Pairs of numbers, (m, 2), by which two tiles mean the same object."""
    shared = intersection(here_field, there_field)
    a = crop(here, here_field, shared).ravel().astype(np.int64)
    b = crop(there, there_field, shared).ravel().astype(np.int64)
    numbers_b = int(b.max(initial=0)) + 1
    area_a, area_b = np.bincount(a), np.bincount(b)
    both = np.flatnonzero((a > 0) & (b > 0))
    pairs, overlap = np.unique(a[both] * numbers_b + b[both], return_counts=True)
    first, second = pairs // numbers_b, pairs % numbers_b
    union = area_a[first] + area_b[second] - overlap
    same = overlap > SAME_OBJECT * union
    return np.stack([first[same], second[same]], axis=1)


@dataclass(frozen=True)
class Numbering:
    """How the objects of an image are made of the objects of its tiles.

    Attributes:
        count: How many there are, numbered 1…count in reading order of their first pixel.
        of_tile: For each tile, by its place in the grid, the image's number of each of the tile's
            own; 0 for those that are too small or lie in the halo only.
        tiles_of: (count + 1,) in how many tiles each object has pixels.
        last_tile: (count + 1,) the last tile, in row-by-row order, in which it has.
        first: (count + 1, 2) row and column of its first pixel, at the network's pixel size.
        means: (count + 1, M) mean probability over its pixels of the foreground and of each type,
            from 0 to 1; None where none is known.
    """

    count: int
    of_tile: list[np.ndarray]
    tiles_of: np.ndarray
    last_tile: np.ndarray
    first: np.ndarray
    means: np.ndarray | None = None

    @property
    def confidence(self) -> np.ndarray | None:
        """(count + 1,) that of each object: the mean probability of the foreground."""
        return None if self.means is None else self.means[:, 0]

    @property
    def types(self) -> np.ndarray | None:
        """(count + 1, K) how probable each type of each object is; rows add up to 1."""
        if self.means is None or self.means.shape[1] == 1:
            return None
        return shares_of(self.means[:, 1:])


def number_objects(
    pieces: list[Pieces],
    matches: Iterable[tuple[int, int, np.ndarray]],
    minimum_area: int,
) -> Numbering:
    """Join pieces to objects, leave out small ones, and number the rest.

    Args:
        pieces: Of every tile, by its place in the grid.
        matches: (tile, tile, (m, 2) pairs of numbers) of neighbouring tiles.
        minimum_area: px; an object with fewer, all its pieces together, is left out.
    """
    parts = _Joined.of(pieces)
    edges = [pairs + np.array([parts.start[a], parts.start[b]]) for a, b, pairs in matches]
    joined = np.concatenate(edges) if edges else np.zeros((0, 2), np.int64)
    joined = joined[(parts.area[joined] > 0).all(axis=1)]
    groups, group = groups_of(joined, len(parts.area))
    total = np.bincount(group, parts.area, minlength=groups)
    wanted = total >= max(minimum_area, 1)
    first_group, position = np.unique(group[parts.order], return_index=True)
    ranked = first_group[np.argsort(position)]
    ranked = ranked[wanted[ranked]]
    number = np.zeros(groups, np.int32)
    number[ranked] = np.arange(1, len(ranked) + 1, dtype=np.int32)
    return parts.numbering(number[group], len(ranked))


def same_numbers(pieces: list[Pieces], count: int) -> Numbering:
    """Describe objects 1…count that go by the same number in every tile.

    Args:
        pieces: Of every tile, by its place in the grid.
        count: How many objects there are; some may have no pixel.
    """
    numbers = [np.arange(len(each.area), dtype=np.int32) for each in pieces]
    return _Joined.of(pieces).numbering(np.concatenate(numbers), count)


def keep_numbering(work: Work, numbering: Numbering) -> None:
    """Put the objects of an image into its work, for others to go on from there."""
    for name in _ARRAYS:
        array = getattr(numbering, name)
        if array is not None:
            work.put(_numbers_name(name), array, compress=False)
    work.put(_numbers_name("of_tiles"), np.concatenate(numbering.of_tile), compress=False)
    # At last: where these are, all are.
    counts = np.array([numbering.count, *map(len, numbering.of_tile)])
    work.put(_numbers_name("counts"), counts, compress=False)


def kept_numbering(work: Work) -> Numbering | None:
    """What was put there; None where nothing was."""
    if not work.has(_numbers_name("counts"), compressed=False):
        return None

    def read(name: str) -> np.ndarray:
        return np.asarray(work.get(_numbers_name(name), compressed=False))

    count, *lengths = read("counts").tolist()
    there = (name for name in _ARRAYS if work.has(_numbers_name(name), compressed=False))
    of_tile = np.split(read("of_tiles"), np.cumsum(lengths)[:-1])
    return Numbering(count=count, of_tile=of_tile, **{name: read(name) for name in there})


_ARRAYS = tuple(each.name for each in fields(Numbering) if each.name not in ("count", "of_tile"))


def _numbers_name(array: str) -> str:
    """Under which name the work keeps an array of a numbering."""
    return f"numbers-{array}"


@dataclass(frozen=True)
class _Joined:
    """The pieces of all tiles in one row.

    Attributes:
        start: Where those of each tile begin, and the end.
        area, rows, columns, probability: As in `Pieces`.
        order: Pieces with pixels, in reading order of their first.
    """

    start: np.ndarray
    area: np.ndarray
    rows: np.ndarray
    columns: np.ndarray
    order: np.ndarray
    probability: np.ndarray | None

    @staticmethod
    def of(pieces: list[Pieces]) -> "_Joined":
        start = np.concatenate([[0], np.cumsum([len(each.area) for each in pieces])])
        area = np.concatenate([each.area for each in pieces])
        rows = np.concatenate([each.first_row for each in pieces])
        columns = np.concatenate([each.first_column for each in pieces])
        used = np.flatnonzero(area > 0)
        order = used[np.lexsort((columns[used], rows[used]))]
        known = [each.probability for each in pieces if each.probability is not None]
        probability = np.concatenate(known) if len(known) == len(pieces) else None
        return _Joined(start, area, rows, columns, order, probability)

    def numbering(self, numbers: np.ndarray, count: int) -> Numbering:
        """Describe the objects, given the number of each piece's; 0 leaves a piece out."""
        numbers = np.where(self.area > 0, numbers, 0).astype(np.int32)
        tile = np.repeat(np.arange(len(self.start) - 1), np.diff(self.start))
        tiles_of = np.bincount(numbers, minlength=count + 1)
        last_tile = np.zeros(count + 1, np.int64)
        np.maximum.at(last_tile, numbers, tile)
        first = np.zeros((count + 1, 2), np.int64)
        reverse = self.order[::-1]  # the last one written is the first piece
        first[numbers[reverse]] = np.stack([self.rows[reverse], self.columns[reverse]], axis=1)
        of_tile = np.split(numbers, self.start[1:-1])
        return Numbering(count, of_tile, tiles_of, last_tile, first, self._means(numbers, count))

    def _means(self, numbers: np.ndarray, count: int) -> np.ndarray | None:
        """The mean probabilities of each object's pixels."""
        if self.probability is None:
            return None
        area = np.bincount(numbers, self.area, count + 1)
        each = [np.bincount(numbers, sums, count + 1) for sums in self.probability.T]
        total, below = np.stack(each, axis=1), area[:, None]
        return np.clip(np.divide(total, below, out=np.zeros_like(total), where=below > 0), 0, 1)


def groups_of(pairs: np.ndarray, count: int) -> tuple[int, np.ndarray]:
    """How many groups the pairs make of ``count`` things, and the group of each."""
    if not len(pairs):
        return count, np.arange(count)
    # Imported when needed: a single tile has no seams, and its mask is wanted soon.
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    links = np.ones(len(pairs), bool), (pairs[:, 0], pairs[:, 1])
    return connected_components(coo_array(links, shape=(count, count)), directed=False)


def crop(array: np.ndarray, region: Region, part: Region) -> np.ndarray:
    """``part`` of an array (…, h, w) that covers ``region``."""
    return array[
        ...,
        part.top - region.top : part.bottom - region.top,
        part.left - region.left : part.right - region.left,
    ]
