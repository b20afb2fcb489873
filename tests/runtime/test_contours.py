import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from skimage import measure

from abbe.runtime.writing.contours import Edges, edges_of, rings_of, without_seams
from abbe.runtime.writing.polygons import objects_of

shapely = pytest.importorskip("shapely")


def random_labels(seed: int, height: int, width: int, kind: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    if kind == 0:  # objects in many parts that touch at corners
        return random.integers(0, 4, (height, width)).astype(np.int32)
    if kind == 1:  # ragged, with holes that touch the outside at corners
        mask = random.random((height, width)) < random.uniform(0.3, 0.9)
    else:
        mask = ndimage.gaussian_filter(random.random((height, width)), 1.5) > 0.5
    return np.asarray(measure.label(mask, connectivity=1), np.int32)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 2**32 - 1),
    height=st.integers(1, 30),
    width=st.integers(1, 30),
    kind=st.integers(0, 2),
)
def test_polygons_are_valid_and_cover_their_object_alone(seed, height, width, kind):
    labels = random_labels(seed, height, width, kind)
    rings = rings_of(edges_of(labels))
    rows, columns = np.mgrid[:height, :width] + 0.5
    found = set()
    for number, polygons, area in objects_of(rings):
        points = [rings.points[a:b] for a, b in zip(rings.first, rings.first[1:], strict=False)]
        parts = [shapely.Polygon(points[p[0]], [points[hole] for hole in p[1:]]) for p in polygons]
        shape = shapely.MultiPolygon(parts) if len(parts) > 1 else parts[0]
        assert shape.is_valid, shapely.is_valid_reason(shape)
        assert all(shapely.LinearRing(points[p[0]]).is_ccw for p in polygons)
        assert not any(shapely.LinearRing(points[h]).is_ccw for p in polygons for h in p[1:])
        np.testing.assert_array_equal(shapely.contains_xy(shape, columns, rows), labels == number)
        assert area == shape.area == (labels == number).sum()
        found.add(number)
    assert found == set(np.unique(labels).tolist()) - {0}


@settings(max_examples=100, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 2**32 - 1),
    height=st.integers(1, 30),
    width=st.integers(1, 30),
    row=st.floats(0, 1),
    column=st.floats(0, 1),
)
def test_edges_of_parts_join_to_those_of_the_whole(seed, height, width, row, column):
    labels = random_labels(seed, height, width, 2)
    y, x = round(row * height), round(column * width)
    parts = [
        edges_of(labels[top:bottom, left:right], top, left)
        for top, bottom in ((0, y), (y, height))
        for left, right in ((0, x), (x, width))
        if bottom > top and right > left
    ]
    joined = Edges(
        *(np.concatenate([getattr(part, name) for part in parts])
          for name in ("number", "start", "direction"))
    )  # fmt: skip
    assert table(without_seams(joined)) == table(edges_of(labels))


def table(edges: Edges) -> list[list[int]]:
    return sorted(np.column_stack([edges.number, edges.start, edges.direction]).tolist())


def test_rings_hold_corners_only_and_are_closed():
    labels = np.zeros((20, 30), np.int32)
    labels[3:9, 4:20] = 5
    labels[5:7, 6:8] = 0
    rings = rings_of(edges_of(labels, top=100, left=1000))
    assert rings.number.tolist() == [5, 5]
    assert rings.area.tolist() == [96, -4]
    outer = rings.points[: rings.first[1]].tolist()
    assert outer == [[1004, 103], [1020, 103], [1020, 109], [1004, 109], [1004, 103]]
    assert rings.points[-1].tolist() == rings.points[rings.first[1]].tolist()


def test_no_object_has_no_rings():
    rings = rings_of(edges_of(np.zeros((4, 5), np.int32)))
    assert len(rings.number) == 0
    assert list(objects_of(rings)) == []


def test_far_apart_objects_need_no_large_table():
    labels = np.ones((1, 1), np.int32)
    parts = [edges_of(labels, 0, 0), edges_of(labels * 2, 400_000, 300_000)]
    joined = Edges(
        *(np.concatenate([getattr(part, name) for part in parts])
          for name in ("number", "start", "direction"))
    )  # fmt: skip
    assert rings_of(joined).area.tolist() == [1, 1]
