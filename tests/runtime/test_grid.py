import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from abbe.errors import ConfigError, InputError
from abbe.imaging import Image, Region, normalise
from abbe.imaging.windows import even_tile, spans
from abbe.runtime.tiling.grid import Grid, scale_between
from abbe.runtime.tiling.sampling import read_window


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    length=st.integers(1, 5000),
    divisor=st.sampled_from([1, 8, 32]),
    halos=st.integers(1, 4),
    more=st.integers(1, 10),
)
def test_spans_cover_everything_once_with_a_halo(length, divisor, halos, more):
    halo, tile = halos * divisor, (2 * halos + more) * divisor
    length = -(-length // divisor) * divisor
    found = spans(length, tile, halo)
    assert [span.core_start for span in found[1:]] == [span.core_stop for span in found[:-1]]
    assert (found[0].core_start, found[-1].core_stop) == (0, length)
    for span in found:
        assert span.stop - span.start == min(tile, length)
        assert span.start % divisor == 0
        assert span.start == 0 or span.core_start - span.start >= halo
        assert span.stop == length or span.stop - span.core_stop >= halo


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    length=st.integers(1, 5000),
    divisor=st.sampled_from([1, 8, 32]),
    margins=st.integers(0, 4),
    more=st.integers(1, 30),
)
def test_windows_are_no_larger_than_as_many_need(length, divisor, margins, more):
    margin, tile = margins * divisor, (2 * margins + more) * divisor
    length = -(-length // divisor) * divisor
    even = even_tile(length, tile, margin, divisor)
    assert even % divisor == 0
    assert 0.875 * tile <= even <= tile
    windows = len(spans(length, tile, margin))
    assert len(spans(length, even, margin)) == windows
    if length > tile and even - divisor >= max(0.875 * tile, 2 * margin + 1):
        assert len(spans(length, even - divisor, margin)) > windows


@pytest.mark.parametrize(
    ("length", "side"), [(1024, 1024), (1056, 896), (1792, 960), (4096, 928), (16384, 992)]
)
def test_windows_of_1024_share_an_image_evenly(length, side):
    grid = Grid.of((length, 500), 1.0, 32, 1024, 64, 64)
    assert {each.stop - each.start for each in grid.rows} == {side}
    assert {each.stop - each.start for each in grid.columns} == {512}


@settings(max_examples=100, deadline=None, derandomize=True)
@given(
    height=st.integers(1, 700),
    width=st.integers(1, 700),
    scale=st.sampled_from([1.0, 0.5, 0.37, 2.0, 1.3]),
)
def test_cores_cover_the_image_once_at_any_scale(height, width, scale):
    grid = Grid.of((height, width), scale, 16, 128, 32)
    seen = np.zeros((height, width), int)
    for tile in grid.tiles:
        core = grid.image_core(tile)
        seen[core.top : core.bottom, core.left : core.right] += 1
    assert (seen == 1).all()


@pytest.mark.parametrize(("tile", "halo"), [(100, 32), (128, 20), (64, 32), (128, 0)])
def test_tiles_that_do_not_fit_are_refused(tile, halo):
    with pytest.raises(ConfigError, match="multiples of 16 px"):
        Grid.of((50, 50), 1.0, 16, tile, halo)


def test_nearly_equal_pixel_sizes_are_equal():
    assert scale_between(0.5, 0.51, "a") == 1.0
    assert scale_between(0.25, 0.5, "a") == 0.5
    with pytest.raises(InputError, match=r"a: its pixels are 10 µm wide, .* --override-pixel-size"):
        scale_between(10, 0.5, "a")


def image_of(height: int, width: int) -> Image:
    pixels = np.random.default_rng(0).integers(0, 1000, (2, height, width)).astype(np.uint16)
    return Image.from_array(pixels, ["a", "b"], 0.5)


LIMITS = np.array([[0, 1000], [100, 900]], np.float32)


def test_windows_without_scaling_are_the_pixels():
    image = image_of(60, 50)
    grid = Grid.of(image.shape, 1.0, 16, 64, 16)
    whole = normalise(image.read(channels=["b", "a"]), LIMITS)
    window = read_window(image, ("b", "a"), LIMITS, grid, Region(16, 0, 64, 64))
    padded = np.pad(whole, ((0, 0), (0, 4), (0, 14)), mode="symmetric")
    np.testing.assert_array_equal(window, padded[:, 16:64, :64])


@pytest.mark.parametrize("scale", [0.3, 0.5, 1.7, 2.0])
def test_what_is_resampled_does_not_depend_on_the_window(scale):
    image = image_of(200, 170)
    grid = Grid.of(image.shape, scale, 16, 4096, 16)
    height, width = grid.shape
    whole = read_window(image, ("a", "b"), LIMITS, grid, Region(0, 0, height, width))
    assert whole.shape == (2, height, width)
    part = Region(height // 3, width // 4, height // 2, width - 3)
    window = read_window(image, ("a", "b"), LIMITS, grid, part)
    np.testing.assert_allclose(
        window, whole[:, part.top : part.bottom, part.left : part.right], atol=1e-5
    )


@pytest.mark.parametrize("scale", [0.25, 0.5, 2.0])
def test_resampling_moves_nothing(scale):
    """The centre of mass of a blob stays where it is, in µm."""
    rows, columns = np.mgrid[:200, :200]
    blob = np.exp(-((rows - 80.3) ** 2 + (columns - 121.8) ** 2) / 800)[None].astype(np.float32)
    image = Image.from_array(blob, ["a"], 0.5)
    grid = Grid.of(image.shape, scale, 16, 4096, 16)
    limits = np.array([[0, 1]], np.float32)
    small = read_window(image, ("a",), limits, grid, Region(0, 0, *grid.shape))[0]
    y, x = np.mgrid[: grid.shape[0], : grid.shape[1]]
    assert (y * small).sum() / small.sum() == pytest.approx((80.3 + 0.5) * scale - 0.5, abs=0.05)
    assert (x * small).sum() / small.sum() == pytest.approx((121.8 + 0.5) * scale - 0.5, abs=0.05)
