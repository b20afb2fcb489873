"""Whatever is found in tiles must be what is found in the whole."""

import time
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from skimage import measure
from tiled_maps import find, whole

from abbe.runtime.package import InstanceRule, Thresholds
from abbe.runtime.postprocess.map_rule import MapRule
from abbe.runtime.tiling.grid import Grid, Tile
from abbe.runtime.tiling.seams import same_objects
from abbe.runtime.tiling.tiles import find_objects, labels_name, maps_name
from abbe.runtime.tiling.work import Work


def components_of(mask: np.ndarray) -> np.ndarray:
    return np.asarray(measure.label(mask, connectivity=1))


def smooth(random: np.random.Generator, shape: tuple[int, int], sigma: float) -> np.ndarray:
    noise = ndimage.gaussian_filter(random.random(shape), sigma, mode="wrap").astype(np.float32)
    return (noise - noise.min()) / max(float(np.ptp(noise)), 1e-6)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 2**32 - 1),
    height=st.integers(1, 260),
    width=st.integers(1, 260),
    divisor=st.sampled_from([1, 8, 32]),
    margins=st.none() | st.integers(0, 3),
    more=st.integers(40, 100),
    boundary=st.booleans(),
    share=st.sampled_from([0.5, 0.7, 0.9]),
    minimum_area=st.sampled_from([1, 12]),
)
def test_random_maps_give_the_same_objects_in_tiles(
    seed, height, width, divisor, margins, more, boundary, share, minimum_area
):
    random = np.random.default_rng(seed)
    maps = np.stack([smooth(random, (height, width), s) for s in (1.5, 1.2)][: 1 + boundary])
    threshold = float(np.quantile(maps[0], share))
    components = components_of(maps[0] >= threshold)
    sides = [s.stop - s.start for box in ndimage.find_objects(components) for s in box]
    # A halo that the largest component fits: then nothing may differ, not even a number.
    halo = -(-(max(sides, default=1) + 4) // divisor) * divisor
    # However little of a window is thrown away, objects are looked for in the whole halo.
    margin = halo if margins is None else margins * divisor
    tile = 2 * margin + -(-more // divisor) * divisor
    grid = Grid.of((height, width), 1.0, divisor, tile, halo, margin)
    found = find(maps, grid, threshold=threshold, minimum_area=minimum_area)
    expected = whole(maps, threshold, minimum_area)
    np.testing.assert_array_equal(found.read(), expected)
    assert found.count == expected.max()


@settings(max_examples=40, deadline=None, derandomize=True)
@given(data=st.data(), side=st.integers(40, 200), more=st.integers(25, 50))
def test_rectangles_on_seams_and_corners_are_found_whole(data, side, more):
    """Rectangles that never touch, many of them placed across the seams."""
    halo = 24
    grid = Grid.of((side, side + 13), 1.0, 1, 2 * halo + more, halo)
    drawn, free = np.zeros(grid.shape, np.int32), np.ones(grid.shape, bool)
    seams = [s.core_start for s in grid.rows + grid.columns if s.core_start]
    for _ in range(data.draw(st.integers(1, 25))):
        edge = st.sampled_from(seams) if seams else st.just(0)
        near = st.builds(lambda at, by: max(at + by, 0), edge, st.integers(-20, 3))
        place = st.integers(0, side - 1) | near
        top, left = data.draw(place), data.draw(place)
        height, width = data.draw(st.integers(1, 20)), data.draw(st.integers(1, 20))
        box = np.s_[top : top + height, left : left + width]
        if free[box].size and free[box].all():
            drawn[box] = 1
            free[max(top - 1, 0) : top + height + 1, max(left - 1, 0) : left + width + 1] = False
    # Without a boundary map, a rectangle is never cut: it has no neck.
    maps = np.stack([drawn, np.zeros_like(drawn)]).astype(np.float32)
    found = find(maps, grid).read()
    np.testing.assert_array_equal(found, whole(maps))
    assert found.max() == components_of(drawn).max()


def test_an_object_larger_than_many_tiles_is_one_object():
    """A spiral wider than the halo, across all tiles and back."""
    mask = np.zeros((300, 310), np.float32)
    for inset in range(0, 140, 20):
        mask[inset : inset + 6, inset : 310 - inset] = 1
        mask[inset : 300 - inset, 304 - inset : 310 - inset] = 1
        mask[294 - inset : 300 - inset, inset : 310 - inset] = 1
        mask[inset + 20 : 300 - inset, inset : inset + 6] = 1
        mask[inset + 20 : inset + 26, inset : inset + 20] = 1
    maps = np.stack([mask, np.zeros_like(mask)])
    assert components_of(mask).max() == 1
    grid = Grid.of(mask.shape, 1.0, 1, 64, 16)
    found = find(maps, grid)
    assert found.count == 1
    np.testing.assert_array_equal(found.read(), mask.astype(np.int32))


def test_small_objects_are_judged_whole_not_by_their_pieces():
    mask = np.zeros((100, 100), np.float32)
    mask[37:45, 39:43] = 1  # 32 px across a corner of four tiles
    mask[80:83, 10:13] = 1  # 9 px
    maps = np.stack([mask, np.zeros_like(mask)])
    grid = Grid.of(mask.shape, 1.0, 1, 60, 12)
    assert {s.core_start for s in grid.rows} == {0, 41, 70}
    assert find(maps, grid, minimum_area=32).count == 1
    assert find(maps, grid, minimum_area=33).count == 0
    assert find(maps, grid, minimum_area=9).count == 2


def test_nothing_and_everything():
    for value in (0.0, 1.0):
        maps = np.full((1, 150, 90), value, np.float32)
        found = find(maps, Grid.of((150, 90), 1.0, 1, 50, 10))
        assert found.count == int(value)
        assert (found.read() == int(value)).all()


def test_objects_are_the_same_if_more_than_half_of_them_agrees():
    from abbe.imaging import Region

    a, b = np.zeros((10, 10), np.int32), np.zeros((10, 10), np.int32)
    a[:, 5:9], b[:, 0:4] = 3, 7
    here, there = Region(0, 0, 10, 10), Region(0, 5, 10, 15)
    np.testing.assert_array_equal(same_objects(a, here, b, there), [[3, 7]])
    b[:, 2:4] = 0  # half of it: no longer certain
    assert len(same_objects(a, here, b, there)) == 0


def test_regions_of_the_field_are_regions_of_the_whole():
    maps = np.stack([smooth(np.random.default_rng(1), (120, 130), 2)] * 1)
    found = find(maps, Grid.of((120, 130), 1.0, 1, 64, 20), threshold=0.6)
    full = found.read()
    from abbe.imaging import Region

    for region in (Region(0, 0, 1, 1), Region(30, 11, 99, 130), Region(119, 0, 120, 130)):
        np.testing.assert_array_equal(
            found.read(region), full[region.top : region.bottom, region.left : region.right]
        )


class Killed(Exception):
    pass


@pytest.mark.parametrize("after", [1, 7, 19])
def test_an_interrupted_image_goes_on_at_the_next_tile(tmp_path, after):
    maps = np.stack([smooth(np.random.default_rng(2), (200, 200), s) for s in (2, 1.5)])
    grid = Grid.of((200, 200), 1.0, 1, 64, 12)
    seen: list[Tile] = []

    def die(tile: Tile) -> None:
        if len(seen) == after:
            raise Killed
        seen.append(tile)

    with pytest.raises(Killed):
        find(maps, grid, threshold=0.6, folder=tmp_path / "work", look=die)
    again: list[Tile] = []
    found = find(maps, grid, threshold=0.6, folder=tmp_path / "work", look=again.append)
    np.testing.assert_array_equal(found.read(), whole(maps, 0.6))
    assert set(seen) | set(again) == set(grid.tiles)
    assert len(seen) + len(again) <= len(grid.tiles) + 3  # those that were in hand


def test_only_the_maps_that_are_needed_stay_on_the_disk(tmp_path):
    maps = np.stack([smooth(np.random.default_rng(3), (400, 60), 2)] * 1)
    grid = Grid.of((400, 60), 1.0, 1, 64, 20)
    most = 0

    def count(tile: Tile) -> None:
        nonlocal most
        most = max(most, len(list((tmp_path / "work").glob("maps-*.npy"))))

    find(maps, grid, folder=tmp_path / "work", look=count)
    assert len(grid.rows) > 12
    assert most <= 9
    assert not list((tmp_path / "work").glob("maps-*"))


@pytest.mark.parametrize("name", [labels_name(Tile(1, 1)) + ".zst", maps_name(Tile(2, 2)) + ".npy"])
@pytest.mark.parametrize("left", [0, 40])
def test_a_tile_that_a_power_cut_left_short_is_computed_again(tmp_path, name, left):
    maps = np.stack([smooth(np.random.default_rng(2), (200, 200), s) for s in (2, 1.5)])
    grid = Grid.of((200, 200), 1.0, 1, 64, 12)

    path = tmp_path / "work" / name

    def die(_: Tile) -> None:
        # As soon as it is there: how far the other tiles are by then depends on the machine.
        if path.exists():
            raise Killed

    with pytest.raises(Killed):
        find(maps, grid, threshold=0.6, folder=tmp_path / "work", look=die)
    path.write_bytes(path.read_bytes()[:left])
    found = find(maps, grid, threshold=0.6, folder=tmp_path / "work")
    np.testing.assert_array_equal(found.read(), whole(maps, 0.6))


def test_the_work_of_another_job_is_not_used(tmp_path):
    first = Work(tmp_path / "work", {"tile": 1})
    first.put("a", np.ones(3), compress=False)
    assert Work(tmp_path / "work", {"tile": 1}).found
    other = Work(tmp_path / "work", {"tile": 2})
    assert not other.found
    assert not other.has("a", compressed=False)


def test_tiles_of_a_huge_image_are_made_when_they_are_due():
    """Five million tiles: the first is computed at once, and none is made that is not due."""
    grid = Grid.of((1 << 20, 1 << 20), 1.0, 1, 512, 32)
    assert len(grid.tiles) == 2341**2
    assert grid.tiles[2341] == Tile(1, 0)
    assert grid.tiles[-1] == Tile(2340, 2340)
    seen: list[Tile] = []

    def maps_of(tile: Tile) -> np.ndarray:
        seen.append(tile)
        if len(seen) >= 4:
            raise Killed
        return np.zeros((1, 512, 512), np.float32)

    rule = MapRule(("foreground",), Thresholds(), InstanceRule())
    tracemalloc.start()
    started = time.process_time()
    with ThreadPoolExecutor(1) as pool, pytest.raises(Killed):
        find_objects(grid, maps_of, rule, Work(None), pool, workers=1)
    assert time.process_time() - started < 1
    assert tracemalloc.get_traced_memory()[1] < 32 << 20  # a byte each for three marks
    tracemalloc.stop()
    assert set(seen[:4]) == {Tile(0, 0), Tile(0, 1), Tile(1, 0), Tile(1, 1)}
    assert len(seen) <= 6  # and those that were in hand
