"""Areas of regions packages in px of the image: those of the label image, whatever the ratio."""

import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tifffile
from commands import abbe
from hypothesis import given, settings
from hypothesis import strategies as st
from made_packages import REGIONS, make_region_package
from scipy import ndimage

from abbe.imaging import read_labels
from abbe.runtime.package import InstanceRule
from abbe.runtime.tiling.field import ClassMap
from abbe.runtime.tiling.grid import Grid
from abbe.runtime.tiling.seams import crop
from abbe.runtime.tiling.tiles import classes_name
from abbe.runtime.tiling.work import Work
from abbe.runtime.writing.areas import Areas, find_areas
from abbe.runtime.writing.outlines import outlines

RATIOS = (0.4, 0.76, 1.0, 1.32, 2.0, 3.3)
"""px of the network for each px of the image."""


def class_map(classes: np.ndarray, grid: Grid) -> ClassMap:
    """Classes (h, w) at the network's pixel size, kept as tiles."""
    work, whole = Work(None), grid.core(grid.tiles[0])._replace(bottom=grid.shape[0])
    whole = whole._replace(right=grid.shape[1])
    for tile in grid.tiles:
        work.put(classes_name(tile), crop(classes, whole, grid.core(tile)), compress=True)
    return ClassMap(grid, REGIONS, work)


def areas_of(classes: ClassMap, minimum_area: int, skip: int | None = 0) -> Areas:
    with ThreadPoolExecutor(2) as pool:
        return find_areas(classes, pool, 4, minimum_area=minimum_area, skip=skip)


def by_scipy(classes: np.ndarray, skip: int | None = 0) -> list[tuple[int, np.ndarray]]:
    """Class and mask of each 4-connected area of an image."""
    found = []
    for number in np.unique(classes[classes != skip] if skip is not None else classes).tolist():
        labels = np.zeros(classes.shape, np.int32)
        ndimage.label(classes == number, output=labels)
        found += [(number, labels == each) for each in range(1, int(labels.max()) + 1)]
    return found


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 2**32 - 1),
    height=st.integers(1, 60),
    width=st.integers(1, 60),
    ratio=st.sampled_from(RATIOS),
    minimum_area=st.sampled_from([1, 5, 15]),
    tile=st.sampled_from([1000, 40]),
    skip=st.sampled_from([0, None]),
)
def test_areas_are_those_of_the_label_image(seed, height, width, ratio, minimum_area, tile, skip):
    grid = Grid.of((height, width), ratio, 1, tile, 8)
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).random(grid.shape), 1.2)
    cuts = np.quantile(noise, [0.4, 0.7])
    fine = np.searchsorted(cuts, noise).astype(np.uint8)
    classes = class_map(fine, grid)
    areas = areas_of(classes, minimum_area, skip)
    labels, seen = areas.labels.read(), classes.read()
    # In px of the network where it has fewer of them, so that areas are measured there.
    of_network = not grid.coarser_image
    expected = []
    for (number, mask), (_, measured) in zip(
        by_scipy(seen, skip), by_scipy(fine if of_network else seen, skip), strict=True
    ):
        assert not of_network or mask.sum() >= measured.sum()  # it only grows
        if measured.sum() >= minimum_area:
            expected.append((number, mask))
    assert areas.labels.count == len(expected)
    assert np.array_equal(np.unique(labels[labels > 0]), np.arange(1, len(expected) + 1))
    for number, mask in expected:
        (area,) = np.unique(labels[mask])
        assert np.array_equal(labels == area, mask)  # in one part, and all of it
        assert areas.class_of[area] == number
    with ThreadPoolExecutor(2) as pool:
        rings = np.concatenate([each.number for each in outlines(areas.labels, pool, 4)])
    assert np.array_equal(np.unique(rings), np.arange(1, len(expected) + 1))


@pytest.mark.parametrize("tile", [1000, 30])
def test_of_a_coarser_image_no_area_falls_into_parts_or_specks(tile):
    fine = np.zeros((60, 90), np.uint8)
    fine[9:30, 6:30] = fine[9:30, 60:75] = 1
    fine[21, 30:60] = 1  # no centre of a pixel of the image lies in this row
    fine[45:48, 6:12] = 1  # 18 px of the network, 2 of the image
    fine[40:60, 30:44] = fine[40:60, 45:60] = 2
    fine[40:60, 44] = 0  # nor in this column: the image's pixels touch across it
    areas = areas_of(class_map(fine, Grid.of((20, 30), 3.0, 1, tile, 12)), 15)
    expected = np.zeros((20, 30), np.int32)
    expected[3:10, 2:10], expected[3:10, 20:25], expected[13:20, 10:20] = 1, 2, 3
    np.testing.assert_array_equal(areas.labels.read(), expected)
    assert areas.class_of[1:].tolist() == [1, 1, 2]


@pytest.mark.parametrize("image_size", [0.3, 0.5, 0.9, 1.7])
def test_every_outline_is_one_polygon_and_above_the_minimum(tmp_path, monkeypatch, image_size):
    shapely = pytest.importorskip("shapely")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    rule = InstanceRule(rule="components", minimum_area=15)
    package = make_region_package(tmp_path / "package", pixel_size=0.5, instances=rule)
    noise = ndimage.gaussian_filter(np.random.default_rng(3).random((150, 210)), 1.5)
    ranks = noise.ravel().argsort().argsort().reshape(noise.shape)
    path = tmp_path / "a.tif"
    per_cm = 1e4 / image_size
    tifffile.imwrite(
        path, ranks.astype(np.uint16), resolution=(per_cm, per_cm), resolutionunit="CENTIMETER"
    )
    words = "--results", "labels", "geojson"
    assert abbe("predict", package, path, "--out", tmp_path / "out", *words) == 0
    classes = read_labels(tmp_path / "out" / "a.labels.tif")
    found: list[tuple[str, int]] = []
    features = json.loads((tmp_path / "out" / "a.geojson").read_text("utf-8"))["features"]
    for feature in features:
        assert feature["geometry"]["type"] == "Polygon"
        shape = shapely.geometry.shape(feature["geometry"])
        assert shape.is_valid
        name = feature["properties"]["classification"]["name"]
        assert feature["properties"]["measurements"]["Area px^2"] == shape.area
        found.append((name, round(shape.area)))
    assert len(found) > 10
    assert min(area for _, area in found) >= 15
    if image_size >= 0.5:  # else areas are measured in the network's px
        expected = [(REGIONS[number], int(mask.sum())) for number, mask in by_scipy(classes)]
        assert sorted(found) == sorted(each for each in expected if each[1] >= 15)
