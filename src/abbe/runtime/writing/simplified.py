"""Outlines with fewer points, for programs that draw many of them: by GEOS (shapely)."""

import importlib.util
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np

from abbe.errors import MissingExtraError
from abbe.runtime.writing.contours import Rings
from abbe.runtime.writing.polygons import objects_of

LARGEST_CHANGE = 0.01
"""Of an object's area, at most; beyond it outlines stay closer to the pixels."""
_SCALED = 0.05
"""An outline whose area is off by more is not what simplifying is for: scaling would move it."""
_FINEST = 0.1
"""px; with a smaller tolerance nothing more is left out."""
_DIGITS = 2
"""Decimals of px that are kept."""


def simplified(rings: Rings, tolerance: float) -> Rings:
    """The same outlines with fewer points, one for one and in the same order.

    Steps along pixel edges are cut at the middles of the edges, then Douglas and Peucker's rule
    leaves out points (GEOS, which keeps polygons valid), and each polygon is scaled around its
    centre to its area in px. Where that would take more than 5 %, half of the tolerance is tried,
    and so on; what still does not fit, and objects in several parts, keep their pixel edges.

    Args:
        rings: Of whole objects, along pixel edges.
        tolerance: px; no point that is left out lies farther from the line that takes its place.

    Returns:
        Rings whose points are floats; ``area`` is that of the pixels still.

    Raises:
        MissingExtraError: shapely is not installed.
    """
    require_shapely()
    import shapely

    whole = [polygons[0] for _, polygons, _ in objects_of(rings) if len(polygons) == 1]
    if not whole:
        return rings
    numbers = np.array([ring for polygon in whole for ring in polygon])
    owner = np.repeat(np.arange(len(whole)), [len(polygon) for polygon in whole])
    points, ring_of = _without_steps(rings, numbers)
    first = np.flatnonzero(np.diff(owner, prepend=-1))
    exact = np.add.reduceat(rings.area[numbers], first)
    made: Any = shapely.linearrings(points, indices=ring_of)  # an array, with these arguments
    polygons: Any = shapely.polygons(made, indices=owner)
    found = np.full(len(whole), None, object)
    waiting = np.arange(len(whole))
    while len(waiting):
        tried = shapely.simplify(polygons[waiting], tolerance, preserve_topology=True)
        tried, fits = _scaled(tried, exact[waiting])
        found[waiting[fits]] = tried[fits]
        waiting, tolerance = waiting[~fits], tolerance / 2
        if tolerance < _FINEST:
            break
    return _with(rings, whole, found)


def require_shapely() -> None:
    """Say how to install it where it is missing.

    Raises:
        MissingExtraError: shapely is not installed.
    """
    if importlib.util.find_spec("shapely") is None:
        raise MissingExtraError("shapely", "geo", "--simplify")


def _without_steps(rings: Rings, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of these rings the points half a px before and after each corner, and the place of each."""
    points, ring_of = [], []
    for place, ring in enumerate(numbers.tolist()):
        own = rings.points[rings.first[ring] : rings.first[ring + 1]].astype(float)
        step = np.diff(own, axis=0)
        half = np.sign(step) / 2
        ends = np.stack([own[:-1] + half, own[1:] - half], axis=1).reshape(-1, 2)
        # Where a side is 1 px long, both are its middle.
        kept = np.ones(len(ends), bool)
        kept[1::2] = np.abs(step).max(axis=1) > 1
        points.append(ends[kept])
        ring_of.append(np.full(len(points[-1]), place))
    return np.concatenate(points), np.concatenate(ring_of)


def _scaled(polygons: np.ndarray, exact: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The polygons at their exact areas, and which of them are fit to be taken."""
    import shapely

    area = shapely.area(polygons)
    near = np.abs(area - exact) <= _SCALED * exact
    centre = shapely.get_coordinates(shapely.centroid(polygons))
    factor = np.sqrt(np.divide(exact, area, out=np.ones_like(exact), where=near))
    points, owner = shapely.get_coordinates(polygons, return_index=True)
    moved = centre[owner] + (points - centre[owner]) * factor[owner, None]
    made = shapely.set_coordinates(polygons.copy(), np.round(moved, _DIGITS))
    kept = np.abs(shapely.area(made) - exact) <= LARGEST_CHANGE * exact
    return made, near & kept & shapely.is_valid(made)


def _with(rings: Rings, whole: list[list[int]], found: np.ndarray) -> Rings:
    """The rings, those of the polygons that were found in place of their own."""
    import shapely

    own = [rings.points[begin:end] for begin, end in pairwise(rings.first.tolist())]
    for polygon, geometry in zip(whole, found, strict=True):
        if geometry is not None:
            for ring, made in zip(polygon, shapely.get_rings(geometry), strict=True):
                own[ring] = shapely.get_coordinates(made)
    first = np.concatenate([[0], np.cumsum([len(each) for each in own])])
    changed: dict[str, Any] = {"first": first, "points": np.concatenate(own).astype(float)}
    return replace(rings, **changed)
