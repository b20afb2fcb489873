"""Objects in px of the image: one part each, none below the minimum area, whatever the ratio."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from skimage import measure
from tiled_maps import find

from abbe.imaging import Image
from abbe.runtime.tiling.field import Labels
from abbe.runtime.tiling.grid import Grid
from abbe.runtime.tiling.one_part import numbering_of_parts
from abbe.runtime.writing.outlines import outlines
from abbe.runtime.writing.table import measure as measured

COARSER = (1.32, 2.0, 3.3)
"""px of the network for each px of the image."""


def in_one_part(found: Labels, minimum_area: int) -> Labels:
    with ThreadPoolExecutor(2) as pool:
        return found.of_parts(numbering_of_parts(found, pool, 4, minimum_area=minimum_area))


def components_of(mask: np.ndarray) -> np.ndarray:
    return np.asarray(measure.label(mask, connectivity=1))


def parts_by_object(labels: np.ndarray) -> list[int]:
    """How many 4-connected parts each of the objects 1…n has."""
    return [
        int(components_of(labels[box] == number).max())
        for number, box in enumerate(ndimage.find_objects(labels), start=1)
        if box is not None
    ]


def scene(seed: int, shape: tuple[int, int]) -> np.ndarray:
    """Maps (2, h, w) of objects of any form, thin ones among them."""
    random = np.random.default_rng(seed)
    noise = [ndimage.gaussian_filter(random.random(shape), s, mode="wrap") for s in (1.3, 1.0)]
    return np.stack([(n - n.min()) / max(np.ptp(n), 1e-6) for n in noise]).astype(np.float32)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 2**32 - 1),
    height=st.integers(1, 110),
    width=st.integers(1, 110),
    ratio=st.sampled_from(COARSER),
    minimum_area=st.sampled_from([1, 5, 15]),
    tile=st.sampled_from([1000, 60]),
)
def test_every_object_is_in_one_part_and_large_enough(
    seed, height, width, ratio, minimum_area, tile
):
    grid = Grid.of((height, width), ratio, 1, tile, 16)
    maps = scene(seed, grid.shape)
    threshold = float(np.quantile(maps[0], 0.7))
    fine = find(maps, grid, threshold=threshold, minimum_area=minimum_area)
    found = in_one_part(fine, minimum_area)
    labels, before = found.read(), fine.read()
    assert np.array_equal(np.unique(labels[labels > 0]), np.arange(1, found.count + 1))
    assert parts_by_object(labels) == [1] * found.count
    assert (np.bincount(labels.ravel(), minlength=1)[1:] >= minimum_area).all()  # px of the image
    # Reading order of the first pixel, and no pixel but those of one object before.
    _, first = np.unique(labels[labels > 0], return_index=True)
    assert (np.diff(first) > 0).all()
    pairs = np.unique(np.stack([labels[labels > 0], before[labels > 0]]), axis=1)
    assert (pairs[1] > 0).all()
    assert len(np.unique(pairs[0])) == len(np.unique(pairs[1])) == pairs.shape[1]
    # Whoever had a part that is large enough is there with its largest.
    for number, box in enumerate(ndimage.find_objects(before), start=1):
        if box is not None:
            parts = components_of(before[box] == number)
            largest = int(np.bincount(parts.ravel())[1:].max())
            kept = int((labels[box][before[box] == number] > 0).sum())
            assert kept == (largest if largest >= minimum_area else 0)


@pytest.mark.parametrize("ratio", [0.4, 0.76, *COARSER])
@pytest.mark.parametrize("tile", [1000, 90])
def test_large_objects_are_as_many_as_at_the_networks_scale(ratio, tile):
    grid = Grid.of((144, 168), ratio, 1, tile, 30)  # 6 × 7 whole discs
    rows, columns = np.indices(grid.shape)
    radius, step = 9 * ratio, 24 * ratio
    disc = ((rows % step - step / 2) ** 2 + (columns % step - step / 2) ** 2) < radius**2
    maps = np.stack([disc, np.zeros_like(disc)]).astype(np.float32)
    fine = find(maps, grid, minimum_area=15)
    found = in_one_part(fine, 15) if grid.coarser_image else fine
    assert grid.coarser_image == (ratio > 1)
    assert found.count == fine.count == 42
    assert parts_by_object(found.read()) == [1] * 42


def test_a_thin_neck_is_cut_and_the_larger_side_stays():
    mask = np.zeros((60, 90), np.float32)
    mask[9:30, 6:30] = mask[9:30, 60:75] = 1
    mask[21, 30:60] = 1  # no centre of a pixel of the image lies in this row
    mask[45:48, 6:12] = 1  # 18 px of the network, 2 of the image
    maps = np.stack([mask, np.zeros_like(mask)])
    for tile in (1000, 40):
        grid = Grid.of((20, 30), 3.0, 1, tile, 12)
        fine = find(maps, grid, minimum_area=15)
        assert parts_by_object(fine.read()) == [2, 1]
        found = in_one_part(fine, 15)
        expected = np.zeros((20, 30), np.int32)
        expected[3:10, 2:10] = 1
        np.testing.assert_array_equal(found.read(), expected)
        with ThreadPoolExecutor(2) as pool:
            table = measured(found, Image.from_array(np.ones((20, 30), np.uint8)), pool, 4)
            rings = np.concatenate([each.number for each in outlines(found, pool, 4)])
        assert table["area_px"].tolist() == [56]
        assert (table["x"].tolist(), table["y"].tolist()) == ([5.5], [6.0])
        assert rings.tolist() == [1]
