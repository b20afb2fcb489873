"""Outlines of labelled objects along pixel edges, exact and in one go for all objects of a tile.

Every pixel side between an object and what is not it is a directed edge with the object on its
right. Following edge after edge gives closed rings: outer ones with a positive area, holes with a
negative one. Edges of an object that lies in several tiles are collected first; where two tiles
meet inside the object, their edges run in opposite directions and cancel.
"""

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import breadth_first_order, connected_components

_EAST, _SOUTH, _WEST, _NORTH = range(4)
_STEP = np.array([[0, 1], [1, 0], [0, -1], [-1, 0]], np.int32)
"""(row, column) of one step in each direction; turning left is direction − 1."""
_SPARSE = 100
"""With more corners than this for each edge, the corners in use are numbered instead of all."""


@dataclass(frozen=True)
class Edges:
    """Directed pixel sides.

    Attributes:
        number: (E,) the object that each belongs to.
        start: (E, 2) int32, row and column of the pixel corner at which it begins.
        direction: (E,) 0 to 3: east, south, west, north.
    """

    number: np.ndarray
    start: np.ndarray
    direction: np.ndarray

    def of(self, chosen: np.ndarray) -> "Edges":
        """The edges that a mask or an index chooses."""
        return Edges(self.number[chosen], self.start[chosen], self.direction[chosen])


@dataclass(frozen=True)
class Rings:
    """Closed outlines, ordered by object; an object's outer rings come before its holes.

    Attributes:
        number: (R,) the object that each belongs to.
        first: (R + 1,) where each begins in ``points``; the last entry is the end.
        points: (N, 2) int32 x and y of corners in px; the last point of a ring is its first.
        area: (R,) px, negative for holes.
    """

    number: np.ndarray
    first: np.ndarray
    points: np.ndarray
    area: np.ndarray


def edges_of(labels: np.ndarray, top: int = 0, left: int = 0) -> Edges:
    """All edges of all objects; what lies outside the array counts as background.

    Args:
        labels: (H, W) int32, 0 = background.
        top, left: Where the array begins in the image.
    """
    height, width = labels.shape
    padded = np.zeros((height + 2, width + 2), labels.dtype)
    padded[1:-1, 1:-1] = labels
    inside = labels > 0
    # Of each direction: the neighbour beyond the side, and the corner at which the side begins.
    sides = (
        (_EAST, padded[:-2, 1:-1], 0, 0),
        (_SOUTH, padded[1:-1, 2:], 0, 1),
        (_WEST, padded[2:, 1:-1], 1, 1),
        (_NORTH, padded[1:-1, :-2], 1, 0),
    )
    flat, numbers, starts, directions = labels.ravel(), [], [], []
    for direction, beyond, down, across in sides:
        pixels = np.flatnonzero(inside & (beyond != labels))
        numbers.append(flat[pixels])
        row, column = np.divmod(pixels.astype(np.int32), np.int32(width))
        starts.append(np.stack([row + (top + down), column + (left + across)], axis=1))
        directions.append(np.full(len(pixels), direction, np.int8))
    return Edges(np.concatenate(numbers), np.concatenate(starts), np.concatenate(directions))


def without_seams(edges: Edges) -> Edges:
    """Leave out pairs that run along the same side of the same object in opposite directions."""
    opposite = edges.direction >= _WEST
    # The side itself, named by its upper or left corner.
    corner = edges.start.astype(np.int64)
    corner[opposite] += _STEP[edges.direction[opposite]]
    vertical = edges.direction % 2
    order = np.lexsort((corner[:, 1], corner[:, 0], vertical, edges.number))
    keys = np.stack([edges.number, vertical, corner[:, 0], corner[:, 1]], axis=1)[order]
    same = (keys[1:] == keys[:-1]).all(axis=1)
    single = np.ones(len(order), bool)
    single[1:] &= ~same
    single[:-1] &= ~same
    return edges.of(np.sort(order[single]))


def rings_of(edges: Edges) -> Rings:
    """Join the edges of whole objects to rings.

    Where two pixels of an object touch at a corner only, its outline follows each of them. If a
    ring meets itself there, it is parted: the gap that it encloses becomes a hole that touches the
    outer ring, which is a valid polygon, where a ring that touches itself is none.
    """
    if not len(edges.number):
        none = np.zeros(0, np.int64)
        return Rings(none, np.zeros(1, np.int64), np.zeros((0, 2), np.int32), none)
    follower, ring = _linked(edges)
    count = int(ring.max()) + 1
    begins = np.full(count, -1, np.int64)
    begins[ring[::-1]] = np.arange(len(ring))[::-1]
    order = _one_after_another(follower, begins)
    direction, ring = edges.direction[order], ring[order]
    first = np.searchsorted(ring, np.arange(count + 1))
    turns = _is_corner(direction, first)
    points, number = edges.start[order][:, ::-1], edges.number[order]
    return _sorted_rings(points[turns], number[first[:-1]], _counts(turns, first))


def _linked(edges: Edges) -> tuple[np.ndarray, np.ndarray]:
    """For each edge the one that follows it, and the number of its ring."""
    begin, end, count = _corner_numbers(edges)
    # At a corner at most one edge begins in each direction, of whichever object.
    leaving = np.full(4 * count, -1, np.int32)
    leaving[4 * begin + edges.direction] = np.arange(len(begin), dtype=np.int32)
    follower = np.full(len(begin), -1, np.int32)
    for turn in (3, 0, 1):  # left, straight, right: the last that fits wins
        candidate = leaving[4 * end + ((edges.direction + turn) & 3)]
        fits = (candidate >= 0) & (edges.number[candidate] == edges.number)
        np.copyto(follower, candidate, where=fits)
    ring = _cycles(follower)
    first, second = _opposite_starts(edges, begin, leaving)
    itself = ring[first] == ring[second]
    if not itself.any():
        return follower, ring
    # A ring does not cross itself, so its meetings are nested, and all can be parted at once.
    first, second = first[itself], second[itself]
    before = _inverse(follower)
    follower[before[first]], follower[before[second]] = second, first
    return follower, _cycles(follower)


def _corner_numbers(edges: Edges) -> tuple[np.ndarray, np.ndarray, int]:
    """A number for the corner at which each edge begins, for that at which it ends; how many."""
    (top, left), (bottom, right) = edges.start.min(axis=0), edges.start.max(axis=0)
    width = int(right - left) + 2
    step = np.array([1, width, -1, -width])
    begin = (edges.start[:, 0] - top).astype(np.int64) * width + (edges.start[:, 1] - left)
    end = begin + step[edges.direction]
    size = int(bottom - top + 2) * width
    if size <= _SPARSE * len(begin):
        return begin, end, size
    known, begin = np.unique(begin, return_inverse=True)
    return begin, np.searchsorted(known, end), len(known)


def _opposite_starts(edges: Edges, begin: np.ndarray, leaving: np.ndarray) -> np.ndarray:
    """(2, m) pairs of edges of one object that begin at one corner, where pixels touch there."""
    found = []
    for direction in (_EAST, _SOUTH):
        one = np.flatnonzero(edges.direction == direction)
        other = leaving[4 * begin[one] + direction + 2]
        both = (other >= 0) & (edges.number[other] == edges.number[one])
        found.append(np.stack([one[both], other[both]]))
    return np.concatenate(found, axis=1)


def _cycles(follower: np.ndarray) -> np.ndarray:
    """For each edge the number of its ring."""
    return connected_components(_graph(follower), directed=False)[1]


def _inverse(follower: np.ndarray) -> np.ndarray:
    """For each edge the one that it follows."""
    before = np.empty_like(follower)
    before[follower] = np.arange(len(follower))
    return before


def _graph(follower: np.ndarray) -> csr_array:
    size = len(follower)
    links = np.ones(size, np.int8), follower, np.arange(size + 1)
    return csr_array(links, shape=(size, size))


def _one_after_another(follower: np.ndarray, begins: np.ndarray) -> np.ndarray:
    """All edges, ring after ring, each from its beginning along the ring."""
    path = follower.copy()
    path[_inverse(follower)[begins]] = np.roll(
        begins, -1
    )  # the last edge of a ring leads to the next ring
    return breadth_first_order(_graph(path), begins[0], return_predecessors=False)


def _is_corner(direction: np.ndarray, first: np.ndarray) -> np.ndarray:
    """Whether an edge turns off from the one before it in its ring."""
    previous = np.roll(direction, 1)
    previous[first[:-1]] = direction[first[1:] - 1]
    return direction != previous


def _counts(turns: np.ndarray, first: np.ndarray) -> np.ndarray:
    return np.add.reduceat(turns.astype(np.int64), first[:-1])


def _sorted_rings(points: np.ndarray, number: np.ndarray, counts: np.ndarray) -> Rings:
    """Close the rings, measure them, and order them by object, outer rings first."""
    first = np.concatenate([[0], np.cumsum(counts)])
    following = np.arange(1, len(points) + 1)
    following[first[1:] - 1] = first[:-1]
    x, y = points.astype(np.int64).T
    area = np.add.reduceat(x * y[following] - x[following] * y, first[:-1]) / 2
    order = np.lexsort((area < 0, number))
    closed = np.concatenate([[0], np.cumsum(counts[order] + 1)])
    inside = np.arange(closed[-1]) - np.repeat(closed[:-1], counts[order] + 1)
    inside %= np.repeat(counts[order], counts[order] + 1)  # the point after the last is the first
    chosen = np.repeat(first[:-1][order], counts[order] + 1) + inside
    return Rings(number[order], closed, points[chosen], area[order])
