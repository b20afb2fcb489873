"""Result images of any size: coarser levels for viewers, written as tiles come."""

import re
import subprocess
import sys
import threading
import tracemalloc
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import tifffile

from abbe.imaging import Region, open_slide, read_labels
from abbe.runtime.writing.tiff.pyramid import (
    PYRAMID_FROM,
    TILE,
    Halve,
    every_second,
    level_shapes,
    mean_of_four,
    write_tiff,
)

FEW = 4


def write(
    path: Path,
    planes: np.ndarray,
    halve: Halve,
    *,
    pixel_size: float | None = 0.5,
    names: tuple[str, ...] | None = None,
) -> Path:
    """Write (C, H, W)."""

    def reader(plane: np.ndarray):
        return lambda region: plane[region.top : region.bottom, region.left : region.right]

    with ThreadPoolExecutor(2) as pool:
        write_tiff(
            path, [reader(plane) for plane in planes], planes.shape[1:], planes.dtype, halve,
            pool, FEW, pixel_size=pixel_size, names=names,
        )  # fmt: skip
    return path


@pytest.mark.parametrize("dtype", [np.uint16, np.uint32])
@pytest.mark.parametrize("shape", [(4500, 701), (1030, 4097)])
def test_levels_of_labels_are_every_second_pixel(tmp_path, rng, shape, dtype):
    labels = rng.integers(0, 60_000, (1, *shape)).astype(dtype)
    labels[0, 100:900, 50:600] = 7
    path = write(tmp_path / "a.labels.tif", labels, every_second)
    np.testing.assert_array_equal(read_labels(path), labels[0])
    with tifffile.TiffFile(path) as tif:
        assert tif.is_ome
        assert len(tif.series) == 1
        assert tif.series[0].axes == "YX"
        levels = tif.series[0].levels
        assert [level.shape for level in levels] == level_shapes(shape)
        assert max(levels[-1].shape) <= 1024 < max(levels[-2].shape)
        for number, level in enumerate(levels):
            assert level.keyframe.tile == (TILE, TILE)
            assert level.keyframe.compression == 8
            np.testing.assert_array_equal(level.asarray(), labels[0, :: 2**number, :: 2**number])
        assert all(level.keyframe.subfiletype == 1 for level in levels[1:])
    slide = open_slide(path)
    assert [level.pixel_size for level in slide.levels] == pytest.approx(
        [0.5 * 2**number for number in range(len(levels))], rel=0.01
    )
    assert sorted(each.name for each in tmp_path.iterdir()) == ["a.labels.tif"]


def test_levels_of_maps_are_means(tmp_path, rng):
    maps = rng.integers(0, 256, (2, 4101, 603), np.uint8)
    path = write(
        tmp_path / "a.probability.tif", maps, mean_of_four, names=("foreground", "boundary")
    )
    slide = open_slide(path)
    assert slide.channels == ("foreground", "boundary")
    expected = maps.astype(float)
    for number, level in enumerate(slide.levels):
        found = level.read()
        assert found.shape == expected.shape
        # Each level is rounded; nothing else is lost, and rounding has no bias.
        assert np.abs(found - expected).max() <= 0.5 * number
        assert abs((found - expected).mean()) < 0.02
        even = np.pad(expected, ((0, 0), *((0, n % 2) for n in expected.shape[1:])), mode="edge")
        expected = (
            even[:, ::2, ::2] + even[:, 1::2, ::2] + even[:, ::2, 1::2] + even[:, 1::2, 1::2]
        ) / 4
    assert len(slide.levels) == 4


@pytest.mark.parametrize("shape", [(1, 1), (700, 900), (PYRAMID_FROM, 20)])
def test_small_images_have_one_level(tmp_path, rng, shape):
    labels = rng.integers(1, 9, (1, *shape), np.uint16)
    path = write(tmp_path / "a.tif", labels, every_second, pixel_size=None)
    with tifffile.TiffFile(path) as tif:
        assert len(tif.series[0].levels) == 1
        np.testing.assert_array_equal(tif.asarray(), labels[0])
    assert open_slide(path).pixel_size is None


def test_each_pixel_is_asked_for_once_and_memory_does_not_grow(tmp_path):
    """A slide of 134 megapixels that exists tile by tile only: 268 MB in one piece."""
    shape = 16384, 8192
    asked: list[Region] = []
    lock = threading.Lock()

    def plane(region: Region) -> np.ndarray:
        with lock:
            asked.append(region)
        return np.full((region.bottom - region.top, region.right - region.left), 7, np.uint16)

    tracemalloc.start()
    with ThreadPoolExecutor(2) as pool:
        write_tiff(
            tmp_path / "a.tif", [plane], shape, np.dtype(np.uint16), every_second, pool, FEW,
            pixel_size=0.25,
        )  # fmt: skip
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 24 << 20
    assert len(asked) == len(set(asked)) == (shape[0] // TILE) * (shape[1] // TILE)
    with tifffile.TiffFile(tmp_path / "a.tif") as tif:
        assert (tif.series[0].levels[-1].asarray() == 7).all()


@pytest.mark.parametrize(("shape", "big"), [((70_000, 40_000), True), ((10_000, 20_000), False)])
def test_what_may_be_larger_than_4_gib_is_a_bigtiff(tmp_path, monkeypatch, shape, big):
    class Enough(Exception):
        pass

    def plane(region: Region) -> np.ndarray:
        raise Enough

    made: list[bool] = []
    original = tifffile.TiffWriter.__init__

    def noted(self, *arguments, bigtiff=False, **options):
        made.append(bigtiff)
        original(self, *arguments, bigtiff=bigtiff, **options)

    monkeypatch.setattr(tifffile.TiffWriter, "__init__", noted)
    with ThreadPoolExecutor(1) as pool, pytest.raises(Enough):
        write_tiff(
            tmp_path / "a.tif", [plane], shape, np.dtype(np.uint16), every_second, pool, FEW,
            pixel_size=None,
        )  # fmt: skip
    assert made == [big]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("limit", [300_000, 3_000_000, 8_300_000])
def test_a_disk_that_fills_up_leaves_nothing_behind(tmp_path, limit):
    """A process that may write so many bytes to a file: a full disk to what writes it."""
    code = """
import resource, sys
import numpy as np
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from abbe.runtime.writing.tiff.pyramid import every_second, write_tiff

folder, limit = Path(sys.argv[1]), int(sys.argv[2])
(folder / "a.tif").write_bytes(b"what stood here before")
noise = np.random.default_rng(0)

def plane(region):
    return noise.integers(0, 9999, (region.bottom - region.top, region.right - region.left), "u2")

resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
try:
    with ThreadPoolExecutor(1) as pool:
        write_tiff(folder / "a.tif", [plane], (4100, 1000), np.dtype("u2"), every_second, pool, 3,
                   pixel_size=0.5)
except OSError as error:
    print(error.errno)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path), str(limit)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout == "27\n", done.stdout + done.stderr  # EFBIG
    assert [each.name for each in tmp_path.iterdir()] == ["a.tif"]
    assert (tmp_path / "a.tif").read_bytes() == b"what stood here before"


def test_no_file_holds_the_network_address_of_the_machine(tmp_path):
    """UUIDs of version 1, which tifffile would take, end in it."""
    pixels = np.ones((1, 20, 30), np.uint8)
    found = []
    for name in ("a.tif", "b.tif"):
        with tifffile.TiffFile(write(tmp_path / name, pixels, mean_of_four)) as tif:
            found += re.findall(r'OME [^>]*UUID="urn:uuid:([0-9a-f-]+)"', tif.ome_metadata or "")
    assert [uuid.UUID(each).version for each in found] == [4, 4]
    assert found[0] != found[1]
