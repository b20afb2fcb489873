"""Slides whose network needs coarse pixels are read from the coarser levels of their pyramid."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr
from made_packages import blobs, make_package

from abbe.errors import InputError
from abbe.imaging import Image, Region, open_image
from abbe.runtime.predictors.predict import predict
from abbe.runtime.tiling.executors import Inline
from abbe.runtime.tiling.grid import Grid
from abbe.runtime.tiling.sampling import level_to_read, read_window
from abbe.runtime.writing import overview as overviews
from abbe.runtime.writing.overview import overview

FINE = 0.25  # µm
SHAPE = (400, 460)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    """(H, W) uint16 at 0.25 µm: discs with edges a few pixels wide, as a scanner gives them."""
    coarse = blobs(SHAPE[0] // 2, SHAPE[1] // 2, radius=9).astype(np.float64)
    fine = np.kron(coarse, np.ones((2, 2)))
    for axis in (0, 1):
        fine = (fine + np.roll(fine, 1, axis) + np.roll(fine, -1, axis)) / 3
    return fine.astype(np.uint16)


def halved(pixels: np.ndarray) -> np.ndarray:
    height, width = (side // 2 * 2 for side in pixels.shape)
    blocks = pixels[:height, :width].reshape(height // 2, 2, width // 2, 2)
    return blocks.mean((1, 3)).round().astype(pixels.dtype)


def levels_of(pixels: np.ndarray, count: int = 3) -> list[np.ndarray]:
    levels = [pixels]
    while len(levels) < count:
        levels.append(halved(levels[-1]))
    return levels


def write_tiff(path: Path, levels: list[np.ndarray]) -> Path:
    options = {"tile": (64, 64), "compression": "zlib", "photometric": "minisblack"}
    size = {"resolution": (1e4 / FINE,) * 2, "resolutionunit": "CENTIMETER"}
    with tifffile.TiffWriter(path) as writer:
        writer.write(levels[0], subifds=len(levels) - 1, **options, **size)
        for level in levels[1:]:
            writer.write(level, subfiletype=1, **options)
    return path


def write_zarr(path: Path, levels: list[np.ndarray]) -> Path:
    group = zarr.open_group(path, mode="w", zarr_format=3)
    datasets = []
    for number, level in enumerate(levels):
        array = group.create_array(
            str(number), shape=level.shape, chunks=(64, 64), dtype=level.dtype
        )
        array[:] = level
        scale = {"type": "scale", "scale": [FINE * 2**number] * 2}
        datasets.append({"path": str(number), "coordinateTransformations": [scale]})
    axes = [{"name": name, "type": "space", "unit": "micrometer"} for name in "yx"]
    group.attrs["ome"] = {
        "version": "0.5", "multiscales": [{"axes": axes, "datasets": datasets}]
    }  # fmt: skip
    return path


WRITERS = {"slide.tif": write_tiff, "slide.ome.zarr": write_zarr}


@pytest.fixture
def read_from(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Pixels that were read, by the image or level they were read from."""
    counts: dict[str, int] = {}
    original = Image.read

    def counted(self, region=None, channels=None):
        pixels = original(self, region, channels)
        counts[self.source] = counts.get(self.source, 0) + pixels.size
        return pixels

    monkeypatch.setattr(Image, "read", counted)
    return counts


@pytest.mark.parametrize("name", WRITERS)
def test_the_level_is_read_and_gives_the_same_objects(tmp_path, pixels, name, read_from):
    package = make_package(tmp_path / "package", pixel_size=0.5)
    flat = predict(package, write_tiff(tmp_path / "flat.tif", [pixels]))
    read_from.clear()
    path = WRITERS[name](tmp_path / name, levels_of(pixels))
    found = predict(package, path)
    assert found.shape == flat.shape == SHAPE
    assert flat.max() > 15
    assert found.max() == flat.max()
    assert ((found > 0) == (flat > 0)).mean() > 0.995
    # Each object is the same one but for its margin.
    for number in range(1, int(flat.max()) + 1):
        own, other = flat == number, found == number
        assert (own & other).sum() > 0.85 * (own | other).sum()
    # Of the finest level no more than the windows for percentiles: here once the whole image.
    assert set(read_from) == {str(path), f"{path} (level 1 of its pyramid)"}
    assert read_from[str(path)] == pixels.size


@pytest.mark.parametrize(
    ("pixel_size", "level"), [(0.26, 0), (0.4, 0), (0.496, 1), (0.5, 1), (0.9, 1), (1.0, 2), (4, 2)]
)
def test_the_coarsest_level_that_is_fine_enough_is_read(tmp_path, pixels, pixel_size, level):
    image = open_image(write_tiff(tmp_path / "slide.tif", levels_of(pixels)))
    grid = Grid.of(image.shape, FINE / pixel_size, 16, 128, 16)
    chosen = level_to_read(image, grid)
    assert chosen.shape == levels_of(pixels)[level].shape
    assert level > 0 or chosen is image


def test_an_enlarged_image_is_read_itself(tmp_path, pixels):
    image = open_image(write_tiff(tmp_path / "slide.tif", levels_of(pixels)))
    assert level_to_read(image, Grid.of(image.shape, 2.0, 16, 128, 16)) is image


@pytest.mark.parametrize("pixel_size", [0.5, 0.7, 1.3])
def test_windows_look_as_if_reduced_from_the_finest_level(tmp_path, pixels, pixel_size):
    image = open_image(write_tiff(tmp_path / "slide.tif", levels_of(pixels)))
    grid = Grid.of(image.shape, FINE / pixel_size, 16, 96, 16)
    level = level_to_read(image, grid)
    assert level is not image
    limits = np.array([[0, 30000]], np.float32)
    for window in (Region(0, 0, 64, 64), Region(32, 16, 96, 112)):
        from_level = read_window(level, image.channels, limits, grid, window)
        from_finest = read_window(image, image.channels, limits, grid, window)
        assert from_level.shape == from_finest.shape
        # Two filters: what writers of pyramids average is narrower than our triangle.
        difference = np.abs(from_level - from_finest)
        assert difference.mean() < 0.01
        assert np.quantile(difference, 0.99) < 0.1
        # No shift: moved by half a pixel of the network they would fit worse.
        half = max(1, round(pixel_size / FINE / 2))
        moved = Image.from_array(np.roll(image.read(), half, axis=2), image.channels)
        worse = read_window(moved, image.channels, limits, grid, window)
        assert difference.mean() < np.abs(from_level - worse).mean() / 2


def test_levels_that_cannot_be_used_are_named(tmp_path, pixels):
    package = make_package(tmp_path / "package", pixel_size=0.5)
    odd = [pixels, halved(pixels)[:, :100]]
    path = write_zarr(tmp_path / "slide.ome.zarr", odd)
    with pytest.raises(InputError, match=r"slide.ome.zarr: level 1 of the pyramid is 200 × 100"):
        predict(package, path)
    assert predict(package, path, override_pixel_size=0.5).max() > 15  # its level is not needed


@pytest.mark.parametrize(("side", "level"), [(100, 2), (200, 1), (SHAPE[1], 0)])
def test_an_overview_shows_the_level_that_suffices(
    tmp_path, pixels, read_from, monkeypatch, side, level
):
    monkeypatch.setattr(overviews, "SIDE", side)
    limits = np.array([[0, 30000]], np.float32)

    def nothing(region: Region, step: int, picture: np.ndarray) -> None:
        pass

    def drawn(path: Path) -> tuple[np.ndarray, Image]:
        image = open_image(path)
        return overview(image, image.channels, limits, nothing, Inline(), 1), image

    expected, _ = drawn(write_tiff(tmp_path / "flat.tif", [pixels]))
    read_from.clear()
    picture, image = drawn(write_tiff(tmp_path / "slide.tif", levels_of(pixels)))
    suffix = f" (level {level} of its pyramid)" if level else ""
    assert set(read_from) == {f"{image.source}{suffix}"}
    assert picture.shape == expected.shape
    assert max(picture.shape) <= side
    difference = np.abs(picture.astype(int) - expected)
    assert difference.mean() < 12
    assert difference.mean() < np.abs(np.roll(picture, 3, axis=1).astype(int) - expected).mean() / 2
    assert level or not difference.any()
