"""Tiling: everything is covered once, tiled equals whole, and odd sizes are padded."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some
from scipy import ndimage

from abbe.errors import ConfigError, InputError
from abbe.imaging import Region
from abbe.imaging.windows import spans
from abbe.teachers.tiles import Pixels, Sides, Tiling, run_in_tiles


def reader(pixels: np.ndarray) -> Pixels:
    return lambda region: pixels[:, region.top : region.bottom, region.left : region.right]


@given(some.integers(1, 400), some.integers(1, 120), some.integers(0, 40))
def test_windows_cover_every_pixel_once_with_their_halo(length: int, window: int, halo: int):
    if window < length and window <= 2 * halo:
        with pytest.raises(ConfigError, match=f"halo of {halo} px.*{window} px"):
            spans(length, window, halo)
        return
    covered = 0
    for first, end, start, stop in spans(length, window, halo):
        assert stop == min(start + window, length)
        assert first == covered
        assert end > first
        assert start >= 0
        assert start + window <= max(length, window)
        assert first - start >= halo or first == 0
        assert start + window - end >= halo or end == length
        covered = end
    assert covered == length


def test_sides_fit_the_shortest_accepted_length():
    assert Sides(512).fit(100, 64) == 512
    assert Sides(16, 16).fit(33, 1024) == 48
    assert Sides(64, 10).fit(65, 1024) == 74
    assert Sides(64, 10).fit(10, 1024) == 64
    assert Sides(32, 32).fit(1000, 100) == 96


@pytest.mark.parametrize("shape", [(100, 75), (28, 130), (4, 3), (64, 64), (1, 1)])
@pytest.mark.parametrize("rows", [Sides(8, 8), Sides(48)])
def test_tiled_equals_whole_where_the_halo_covers_what_the_network_sees(
    shape: tuple[int, int], rows: Sides, rng: np.random.Generator
):
    pixels = rng.random((2, *shape)).astype(np.float32)

    def blur(image: np.ndarray) -> np.ndarray:
        assert image.shape[1:] == (rows.fit(shape[0], 48), rows.fit(shape[1], 48))
        return ndimage.gaussian_filter(image, (0, 2, 2), radius=(0, 4, 4), mode="mirror")

    tiled = run_in_tiles(blur, reader(pixels), shape, Tiling(rows, rows, 48, 8), "blur")
    whole = ndimage.gaussian_filter(pixels, (0, 2, 2), radius=(0, 4, 4), mode="mirror")
    np.testing.assert_allclose(tiled, whole, atol=1e-6)


def test_a_network_that_shrinks_the_image_is_refused():
    with pytest.raises(InputError, match=r"tiny.*16 x 16.*\(1, 8, 8\)"):
        run_in_tiles(
            lambda image: image[:, ::2, ::2],
            reader(np.zeros((1, 16, 16), np.float32)),
            (16, 16),
            Tiling.multiples(1, 64, 8),
            "tiny",
        )


def test_impossible_tilings_are_refused():
    with pytest.raises(ConfigError, match="divisor"):
        Tiling.multiples(0, 64, 8)
    with pytest.raises(ConfigError, match="tile 0"):
        Tiling.multiples(1, 0, 8)


def test_a_network_with_strides_sees_every_tile_on_one_grid(rng: np.random.Generator):
    pixels = rng.random((1, 75, 101)).astype(np.float32)

    def coarse(image: np.ndarray) -> np.ndarray:
        low = image.reshape(1, image.shape[1] // 8, 8, image.shape[2] // 8, 8).mean((2, 4))
        return low.repeat(8, 1).repeat(8, 2)

    tiled = run_in_tiles(coarse, reader(pixels), (75, 101), Tiling.multiples(8, 40, 8), "coarse")
    whole = run_in_tiles(coarse, reader(pixels), (75, 101), Tiling.multiples(8, 200, 8), "coarse")
    np.testing.assert_allclose(tiled, whole, atol=1e-6)


def test_only_a_tile_is_read_at_a_time():
    asked: list[tuple[int, int]] = []

    def read(region: Region) -> np.ndarray:
        asked.append((region.bottom - region.top, region.right - region.left))
        return np.zeros((1, *asked[-1]), np.float32)

    run_in_tiles(lambda tile: tile, read, (1000, 700), Tiling.multiples(1, 128, 16), "any")
    assert max(asked) == (128, 128)
    assert len(asked) > 40
