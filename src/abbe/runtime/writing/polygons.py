"""From rings to polygons: which hole belongs to which outer ring."""

from collections.abc import Iterator

import numpy as np

from abbe.runtime.writing.contours import Rings

Polygon = list[int]
"""Numbers of rings: the outer one, then its holes."""


def objects_of(rings: Rings) -> Iterator[tuple[int, list[Polygon], float]]:
    """For each object its number, its polygons (nearly always one), and its area in px."""
    if not len(rings.number):
        return
    begins = np.flatnonzero(np.diff(rings.number, prepend=rings.number[0] - 1))
    ends = np.append(begins[1:], len(rings.number))
    outer = np.add.reduceat((rings.area > 0).astype(np.int64), begins)
    areas = np.add.reduceat(rings.area, begins)
    numbers = rings.number[begins]
    for number, begin, end, outers, area in zip(
        numbers.tolist(),
        begins.tolist(),
        ends.tolist(),
        outer.tolist(),
        areas.tolist(),
        strict=True,
    ):
        if outers == 1:
            yield number, [list(range(begin, end))], area
        else:
            yield number, _several(rings, begin, begin + outers, end), area


def _several(rings: Rings, begin: int, holes: int, end: int) -> list[Polygon]:
    """Polygons of an object in several parts: a hole goes to the smallest part around it."""
    parts = {ring: [ring] for ring in range(begin, holes)}
    for hole in range(holes, end):
        x, y = rings.points[rings.first[hole]]
        # A point just inside the hole's first corner: rings run along whole px.
        nearby = [(x + dx, y + dy) for dx in (-0.5, 0.5) for dy in (-0.5, 0.5)]
        inside = next(point for point in nearby if _contains(rings, hole, *point))
        around = [ring for ring in parts if _contains(rings, ring, *inside)]
        parts[min(around, key=lambda ring: rings.area[ring])].append(hole)
    return list(parts.values())


def _contains(rings: Rings, ring: int, x: float, y: float) -> bool:
    """Whether a ring surrounds a point that lies on no side of it (even-odd rule)."""
    points = rings.points[rings.first[ring] : rings.first[ring + 1]]
    (x0, y0), (x1, y1) = points[:-1].T, points[1:].T
    crossing = (x0 == x1) & ((y0 > y) != (y1 > y)) & (x0 > x)
    return int(crossing.sum()) % 2 == 1
