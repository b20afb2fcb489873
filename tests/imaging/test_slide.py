"""Slides: levels of every pyramid, any pixel size, regions that fit each other."""

import pickle
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr

from abbe.errors import InputError, MissingExtraError
from abbe.imaging import Region, open_image, open_slide

SIZE = 0.25  # µm


@pytest.fixture
def pixels(rng: np.random.Generator) -> np.ndarray:
    """(H, W, 3), smooth, so that averaging changes little."""
    coarse = rng.integers(60, 240, (13, 17, 3), dtype=np.uint8)
    return np.asarray(np.kron(coarse, np.ones((20, 20, 1))), np.uint8)


def pyramid_of(pixels: np.ndarray) -> list[np.ndarray]:
    return [pixels, pixels[::2, ::2], pixels[::4, ::4]]


def write_tiff(path: Path, pixels: np.ndarray, kind: str, pixel_size: float | None = SIZE) -> Path:
    options = {"tile": (64, 64), "photometric": "rgb", "compression": "zlib"}
    first = dict(options)
    if pixel_size is not None:
        first |= {"resolution": (1e4 / pixel_size,) * 2, "resolutionunit": "CENTIMETER"}
    full, *others = pyramid_of(pixels)
    with tifffile.TiffWriter(path, ome=kind == "ome") as writer:
        if kind == "pages":  # as libvips and OpenSlide's generic TIFF
            writer.write(full, metadata=None, **first)
            for level in others:
                writer.write(level, subfiletype=1, metadata=None, **options)
            return path
        metadata = {"axes": "YXS"}
        if kind == "ome" and pixel_size is not None:
            metadata |= {"PhysicalSizeX": pixel_size, "PhysicalSizeY": pixel_size}
        writer.write(full, subifds=len(others), metadata=metadata, **first)
        for level in others:
            writer.write(level, subfiletype=1, **options)
    return path


def write_zarr(path: Path, pixels: np.ndarray) -> Path:
    group = zarr.open_group(path, mode="w", zarr_format=3)
    datasets = []
    for number, level in enumerate(pyramid_of(pixels)):
        stored = level.transpose(2, 0, 1)
        array = group.create_array(
            str(number), shape=stored.shape, chunks=(1, 64, 64), dtype="uint8"
        )
        array[:] = stored
        scale = SIZE * 2**number
        datasets.append(
            {
                "path": str(number),
                "coordinateTransformations": [{"type": "scale", "scale": [1, scale, scale]}],
            }
        )
    axes = [
        {"name": "c", "type": "channel"},
        {"name": "y", "type": "space", "unit": "micrometer"},
        {"name": "x", "type": "space", "unit": "micrometer"},
    ]
    multiscales = [{"axes": axes, "datasets": datasets}]
    labels = [{"label": name} for name in ("red", "green", "blue")]
    group.attrs["ome"] = {
        "version": "0.5", "multiscales": multiscales, "omero": {"channels": labels}
    }  # fmt: skip
    return path


@pytest.fixture(params=["subifds", "pages", "ome", "zarr", "openslide"])
def slide_path(request: pytest.FixtureRequest, tmp_path: Path, pixels: np.ndarray) -> Path:
    if request.param == "zarr":
        return write_zarr(tmp_path / "slide.ome.zarr", pixels)
    if request.param == "openslide":
        pytest.importorskip("openslide")
        # OpenSlide tells the format by the content: a name of its own makes us ask it.
        return write_tiff(tmp_path / "slide.svslide", pixels, "pages")
    return write_tiff(tmp_path / "slide.tif", pixels, request.param)


def test_every_level_is_there_with_its_pixel_size(slide_path, pixels):
    slide = open_slide(slide_path)
    assert slide.channels == ("red", "green", "blue")
    assert [level.pixel_size for level in slide.levels] == pytest.approx([0.25, 0.5, 1.0])
    for level, expected in zip(slide.levels, pyramid_of(pixels), strict=True):
        np.testing.assert_array_equal(level.read(), expected.transpose(2, 0, 1))
    region = Region(33, 70, 99, 101)
    np.testing.assert_array_equal(
        slide.levels[1].read(region, ["blue"])[0], pixels[::2, ::2][33:99, 70:101, 2]
    )


def test_a_level_is_given_as_it_is_where_it_has_the_pixel_size(slide_path):
    slide = open_slide(slide_path)
    assert slide.at(0.5) is slide.levels[1]
    assert slide.at(0.502) is slide.levels[1]


@pytest.mark.parametrize("pixel_size", [0.3, 0.7, 1.7])
def test_any_other_pixel_size_is_averaged_down_from_the_next_finer_level(pixel_size, slide_path):
    slide = open_slide(slide_path)
    image = slide.at(pixel_size)
    assert image.pixel_size == pixel_size
    height, width = slide.levels[0].shape
    expected = (int(height * SIZE / pixel_size), int(width * SIZE / pixel_size))
    assert image.shape == expected
    whole = image.read()
    # Away from edges, blocks of one colour keep it.
    scale = pixel_size / SIZE
    at = [(int((20 * row + 10) / scale), int((20 * column + 10) / scale))
          for row in range(13) for column in range(17)]  # fmt: skip
    centres = slide.levels[0].read()[:, 10::20, 10::20].reshape(3, -1)
    found = np.array([whole[:, row, column] for row, column in at]).T
    assert np.abs(found.astype(int) - centres).mean() < (2 if pixel_size < 1 else 12)


@pytest.mark.parametrize("pixel_size", [0.3, 0.7])
def test_regions_fit_the_whole(pixel_size, slide_path):
    image = open_slide(slide_path).at(pixel_size)
    whole = image.read().astype(int)
    for region in (Region(0, 0, 40, 40), Region(17, 31, 60, 77), Region(50, 50, *image.shape)):
        part = image.read(region).astype(int)
        expected = whole[:, region.top : region.bottom, region.left : region.right]
        assert np.abs(part - expected).max() <= 1  # Pillow rounds weights to 1 / 2²²


def test_a_slide_without_levels_is_read_in_bands(tmp_path, pixels, monkeypatch):
    from abbe.imaging import slide as module

    path = tmp_path / "flat.tif"
    tifffile.imwrite(path, pixels, photometric="rgb")
    image = open_slide(path, pixel_size=SIZE).at(1.1)
    whole = image.read().astype(int)
    monkeypatch.setattr(module, "_BAND", 20_000)
    assert np.abs(image.read().astype(int) - whole).max() <= 1


def test_16_bits_and_floats_are_averaged_too(tmp_path, rng):
    for dtype in (np.uint16, np.float32):
        path = tmp_path / "deep.tif"
        values = (rng.random((3, 64, 64)) * 1000).astype(dtype)
        tifffile.imwrite(path, values, photometric="minisblack")
        image = open_slide(path, pixel_size=0.5, channels=("a", "b", "c")).at(2.0)
        pixels = image.read()
        assert pixels.dtype == dtype
        assert pixels.mean() == pytest.approx(values.mean(), rel=0.02)
        assert pixels.shape == (3, 16, 16)


def test_a_slide_can_be_pickled(slide_path):
    slide = open_slide(slide_path)
    slide.levels[0].read(Region(0, 0, 4, 4))
    copy = pickle.loads(pickle.dumps(slide.at(0.7)))
    np.testing.assert_array_equal(copy.read(), slide.at(0.7).read())


def test_a_slide_without_pixel_size_says_how_to_give_it(tmp_path, pixels):
    path = write_tiff(tmp_path / "slide.tif", pixels, "pages", pixel_size=None)
    with pytest.raises(InputError, match=r"slide.tif: its pixel size is not known.*--pixel-size"):
        open_slide(path).at(0.5)
    assert open_slide(path, pixel_size=0.25).at(0.5).shape == (130, 170)


def test_what_is_finer_than_the_slide_is_refused(slide_path):
    with pytest.raises(InputError, match=r"its pixels are 0.25 µm, and 0.1 µm were asked for"):
        open_slide(slide_path).at(0.1)
    with pytest.raises(InputError, match="not above 0"):
        open_slide(slide_path).at(0)


def test_a_corrupt_level_is_named_when_it_is_read(tmp_path, pixels):
    path = write_tiff(tmp_path / "slide.tif", pixels, "pages")
    with tifffile.TiffFile(path) as tif:
        page = tif.series[0].levels[1].keyframe
        offset, count = page.dataoffsets[0], page.databytecounts[0]
    with open(path, "rb+") as file:
        file.seek(offset)
        file.write(b"\xff" * count)
    slide = open_slide(path)
    slide.levels[0].read()
    with pytest.raises(InputError, match=r"slide.tif \(level 1 of its pyramid\): .*damaged"):
        slide.at(0.5).read()


def test_a_level_that_reaches_beyond_the_file_is_refused(tmp_path, pixels):
    path = write_tiff(tmp_path / "slide.tif", pixels, "pages")
    with tifffile.TiffFile(path) as tif:
        tag = tif.series[0].levels[2].keyframe.tags["TileByteCounts"]
        at, value = tag.valueoffset, tag.value
    assert isinstance(value, tuple)
    with open(path, "rb+") as file:
        file.seek(at)
        file.write(
            np.full(len(value), 60_000, np.uint16 if tag.dtype == 3 else np.uint32).tobytes()
        )
    with pytest.raises(InputError, match="truncated"):
        open_slide(path)


@pytest.mark.parametrize("kind", ["tif", "zarr"])
def test_a_level_of_which_nothing_is_stored_is_refused(tmp_path, pixels, kind):
    if kind == "tif":
        path = write_tiff(tmp_path / "slide.tif", pixels, "pages")
        with tifffile.TiffFile(path) as tif:
            tag = tif.series[0].levels[2].keyframe.tags["TileByteCounts"]
            at, size = tag.valueoffset, tag.count * (2 if tag.dtype == 3 else 4)
        with open(path, "rb+") as file:
            file.seek(at)
            file.write(bytes(size))
    else:
        path = write_zarr(tmp_path / "slide.ome.zarr", pixels)
        shutil.rmtree(path / "2" / "c")
    assert open_image(path).read().any()
    with pytest.raises(InputError, match=r"none of the pixels of .*level.* is stored"):
        open_slide(path)


def test_levels_that_do_not_fit_each_other_are_refused(tmp_path, pixels):
    path = write_zarr(tmp_path / "slide.ome.zarr", pixels)
    group = zarr.open_group(path, mode="r+")
    array = group.create_array("odd", shape=(3, 100, 20), chunks=(1, 64, 64), dtype="uint8")
    array[:] = 1
    ome: Any = group.attrs["ome"]
    ome["multiscales"][0]["datasets"][1]["path"] = "odd"
    group.attrs["ome"] = ome
    with pytest.raises(InputError, match=r"level 1 of the pyramid is 100 × 20 px.*does not fit"):
        open_slide(path)


def test_openslide_is_asked_for_its_own_formats(tmp_path, monkeypatch):
    pytest.importorskip("openslide")
    path = tmp_path / "slide.mrxs"
    path.write_bytes(b"\xff\xd8\xff\xe0 the overview of an MRXS slide")
    with pytest.raises(InputError, match=r"slide.mrxs: OpenSlide cannot read it.*folder"):
        open_image(path)
    monkeypatch.setitem(sys.modules, "openslide", None)
    with pytest.raises(MissingExtraError, match=r"'openslide-python'.*pip install 'abbe\[wsi\]'"):
        open_image(path)


@pytest.mark.real
def test_a_real_slide_agrees_with_openslide(data_root: Path):
    openslide = pytest.importorskip("openslide")
    path = data_root / "wsi" / "cmu-1-small-region.svs"
    slide = open_slide(path)
    assert slide.pixel_size == pytest.approx(0.499)
    theirs = openslide.OpenSlide(path)
    ours = slide.at(0.5).read(Region(700, 500, 956, 756)).transpose(1, 2, 0)
    expected = np.asarray(theirs.read_region((500, 700), 0, (256, 256)))[..., :3]
    assert np.abs(ours.astype(int) - expected).max() <= 2  # two JPEG decoders
