"""TIFF in its many forms: layouts, metadata, lazy segments, damage."""

import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from abbe.errors import InputError
from abbe.imaging import Region, open_image, read_labels
from abbe.imaging.formats import tiff


@pytest.fixture
def pixels(rng: np.random.Generator) -> np.ndarray:
    return rng.integers(0, 65536, (3, 101, 87), np.uint16)


def write(path: Path, array: np.ndarray, **options: Any) -> Path:
    tifffile.imwrite(path, array, **{"photometric": "minisblack", **options})
    return path


LAYOUTS: Mapping[str, Mapping[str, Any]] = {
    "strips": {"rowsperstrip": 7, "compression": "zlib"},
    "strips of one row": {"rowsperstrip": 1, "compression": "lzw"},
    "tiles": {"tile": (16, 32), "compression": "zlib", "predictor": True},
    "uncompressed tiles": {"tile": (16, 32)},
    "uncompressed": {},
    "big-endian": {"byteorder": ">", "compression": "zlib"},
    "big-endian uncompressed": {"byteorder": ">"},
    "BigTIFF": {"bigtiff": True, "compression": "zlib"},
    "zstd": {"compression": "zstd"},
    "ImageJ": {"imagej": True, "metadata": {"axes": "CYX"}},
    "ImageJ compressed": {"imagej": True, "metadata": {"axes": "CYX"}, "compression": "zlib"},
    "OME": {"ome": True, "metadata": {"axes": "CYX"}, "compression": "zlib"},
    "pages without metadata": {"metadata": None, "compression": "zlib"},
    "planar": {"planarconfig": "separate", "photometric": "rgb", "compression": "zlib"},
    "planar tiles": {
        "planarconfig": "separate",
        "photometric": "rgb",
        "tile": (32, 16),
        "compression": "zlib",
    },
}
INTERLEAVED: Mapping[str, Mapping[str, Any]] = {
    "RGB": {"photometric": "rgb"},
    "RGB tiles": {"photometric": "rgb", "tile": (32, 48), "compression": "zlib"},
    "three samples": {"planarconfig": "contig", "compression": "zlib"},
    "OME YXS": {"ome": True, "metadata": {"axes": "YXS"}, "photometric": "rgb"},
    "channels last by metadata": {"metadata": {"axes": "YXC"}, "compression": "zlib"},
    "channels last uncompressed": {"metadata": {"axes": "YXC"}},
    "channels last, unnamed": {"compression": "zlib"},
}


def check(path: Path, pixels: np.ndarray) -> None:
    opened = open_image(path)
    np.testing.assert_array_equal(opened.read(), pixels)
    assert opened.read().dtype == pixels.dtype.newbyteorder("=")
    last_first = [opened.channels[-1], opened.channels[0]]
    for region in (Region(0, 0, 1, 1), Region(5, 31, 64, 87), Region(100, 0, 101, 87)):
        top, left, bottom, right = region
        expected = pixels[[-1, 0], top:bottom, left:right]
        np.testing.assert_array_equal(open_image(path).read(region, last_first), expected)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_planes(tmp_path: Path, pixels: np.ndarray, layout: str) -> None:
    check(write(tmp_path / "image.tif", pixels, **LAYOUTS[layout]), pixels)


@pytest.mark.parametrize("layout", INTERLEAVED)
def test_interleaved_samples(tmp_path: Path, pixels: np.ndarray, layout: str) -> None:
    array = np.ascontiguousarray(pixels.transpose(1, 2, 0))
    check(write(tmp_path / "image.tif", array, **INTERLEAVED[layout]), pixels)


@pytest.mark.parametrize("dtype", ["u1", "u2", "u4", "i1", "i2", "i4", "f2", "f4", "f8"])
def test_pixel_types(tmp_path: Path, rng: np.random.Generator, dtype: str) -> None:
    array = rng.integers(0, 100, (2, 101, 87)).astype(dtype)
    check(write(tmp_path / "image.tif", array, compression="zlib"), array)


def test_bilevel(tmp_path: Path, rng: np.random.Generator) -> None:
    mask = rng.random((40, 30)) > 0.5
    path = tmp_path / "mask.tif"
    tifffile.imwrite(path, mask, photometric="minisblack")
    np.testing.assert_array_equal(open_image(path).read()[0], mask)


def test_jpeg_tiles(tmp_path: Path) -> None:
    ramp = np.linspace(0, 255, 200 * 180).reshape(200, 180)
    rgb = np.stack([ramp, ramp.T.reshape(200, 180), 255 - ramp], -1).astype(np.uint8)
    path = write(tmp_path / "a.tif", rgb, photometric="rgb", tile=(64, 64), compression="jpeg")
    expected = tifffile.imread(path).transpose(2, 0, 1)
    check(path, expected)


def test_only_the_segments_of_the_region_are_decoded(
    tmp_path: Path, pixels: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "image.tif", pixels, tile=(16, 16), compression="zlib")
    read: list[int] = []
    original = tiff.TiffSegments._checked

    def counted(self: Any, plane: Any, number: int, data: bytes) -> bytes:
        read.append(number)
        return original(self, plane, number, data)

    monkeypatch.setattr(tiff.TiffSegments, "_checked", counted)
    opened = open_image(path)
    assert read == []
    opened.read(Region(16, 16, 33, 32), [opened.channels[1]])
    assert read == [1 * 6 + 1, 2 * 6 + 1]


def test_default_names(tmp_path: Path, pixels: np.ndarray) -> None:
    assert open_image(write(tmp_path / "a.tif", pixels[0])).channels == ("grey",)
    assert open_image(write(tmp_path / "b.tif", pixels)).channels[2] == "channel-2"
    rgb = np.ascontiguousarray(pixels.transpose(1, 2, 0))
    opened = open_image(write(tmp_path / "c.tif", rgb, photometric="rgb"))
    assert opened.channels == ("red", "green", "blue")


def test_ome_names_and_pixel_size_in_any_unit(tmp_path: Path, pixels: np.ndarray) -> None:
    for value, unit in ((0.325, "µm"), (325, "nm"), (0.000325, "mm"), (3250, "Å")):
        metadata = {
            "axes": "CYX",
            "Channel": {"Name": ["nucleus", "membrane", "nucleus"]},
            "PhysicalSizeX": value,
            "PhysicalSizeXUnit": unit,
            "PhysicalSizeY": value,
            "PhysicalSizeYUnit": unit,
        }
        opened = open_image(write(tmp_path / "a.ome.tif", pixels, metadata=metadata))
        assert opened.channels == ("nucleus", "membrane", "nucleus-2")
        assert opened.pixel_size == pytest.approx(0.325)


def test_ome_size_without_a_physical_unit_is_not_known(tmp_path: Path, pixels: np.ndarray) -> None:
    metadata = {"axes": "CYX", "PhysicalSizeX": 0.3, "PhysicalSizeXUnit": "pixel"}
    metadata |= {"PhysicalSizeY": 0.3, "PhysicalSizeYUnit": "pixel"}
    assert open_image(write(tmp_path / "a.ome.tif", pixels, metadata=metadata)).pixel_size is None


@pytest.mark.parametrize("unit", ["micron", "um", "\\u00B5m", "nm", "micrometers", "Microns"])
def test_imagej_names_and_pixel_size(tmp_path: Path, pixels: np.ndarray, unit: str) -> None:
    metadata = {"axes": "CYX", "unit": unit, "Labels": ["DAPI", "CD45", "CD8"]}
    options = {"imagej": True, "metadata": metadata, "resolution": (2.0, 2.0)}
    if unit == "nm":
        options["resolution"] = (0.002, 0.002)
    opened = open_image(write(tmp_path / "a.tif", pixels, **options))
    assert opened.pixel_size == pytest.approx(0.5)
    assert opened.channels == ("DAPI", "CD45", "CD8")


@pytest.mark.parametrize(
    ("resolution", "unit", "expected"),
    [
        ((72, 72), "inch", None),
        ((96, 96), "inch", None),
        ((300, 300), "inch", None),
        ((20_000, 20_000), "centimeter", 0.5),
        ((50_800, 50_800), "inch", 0.5),
        ((1, 1), "none", None),
    ],
)
def test_resolution_tags(
    tmp_path: Path,
    pixels: np.ndarray,
    resolution: Sequence[float],
    unit: str,
    expected: float | None,
) -> None:
    path = write(tmp_path / "a.tif", pixels, resolution=resolution, resolutionunit=unit)
    assert open_image(path).pixel_size == (expected and pytest.approx(expected))


@pytest.mark.parametrize("mpp", ["0.4990", "0,499", "4.99e-1", "49.9E-02"])
def test_svs_microns_per_pixel(tmp_path: Path, mpp: str) -> None:
    rgb = np.zeros((64, 64, 3), np.uint8)
    text = f"Aperio Image Library v1\r\n64x64|AppMag = 20|MPP = {mpp}|Left = 25.6"
    options: dict[str, Any] = {"description": text, "metadata": None, "tile": (32, 32)}
    opened = open_image(write(tmp_path / "a.svs", rgb, photometric="rgb", **options))
    assert opened.pixel_size == pytest.approx(0.499)
    assert opened.channels == ("red", "green", "blue")


def test_pixels_that_are_not_square(tmp_path: Path, pixels: np.ndarray) -> None:
    def size(across: float, down: float) -> Path:
        metadata = {"axes": "CYX", "PhysicalSizeX": across, "PhysicalSizeY": down}
        return write(tmp_path / "a.ome.tif", pixels, metadata=metadata)

    assert open_image(size(0.500, 0.502)).pixel_size == pytest.approx(0.501)
    path = size(0.5, 0.52)
    with pytest.raises(InputError, match=r"a\.ome\.tif.*0\.5 µm wide and 0\.52 µm high.*Resample"):
        open_image(path)
    with pytest.raises(InputError, match="--override-pixel-size"):
        open_image(path, pixel_size=0.5)  # the file is not silent
    opened = open_image(path, override_pixel_size=0.5)
    assert opened.pixel_size == 0.5
    assert opened.notes[-1].startswith("The file says 0.5 × 0.52 µm per pixel, you said 0.5")


@pytest.mark.parametrize(("axes", "word"), [("ZYX", "3-D stack"), ("TYX", "time series")])
@pytest.mark.parametrize("kind", ["imagej", "ome"])
def test_stacks_and_time_series(
    tmp_path: Path, pixels: np.ndarray, axes: str, word: str, kind: str
) -> None:
    path = write(tmp_path / "stack.tif", pixels, **{kind: True}, metadata={"axes": axes})
    with pytest.raises(InputError, match=rf"stack\.tif: it holds a {word} \(3"):
        open_image(path)


def test_several_colour_images(tmp_path: Path, rng: np.random.Generator) -> None:
    pages = rng.integers(0, 256, (4, 20, 30, 3), np.uint8)
    for metadata in ({"axes": "CYXS"}, {"axes": "QYXS"}, None):
        path = write(tmp_path / "scans.tif", pages, photometric="rgb", metadata=metadata)
        with pytest.raises(InputError, match=r"scans\.tif: it holds 4 images along"):
            open_image(path)


def test_pages_that_metadata_promise_but_the_file_lacks(tmp_path: Path, pixels: np.ndarray) -> None:
    whole = write(tmp_path / "whole.ome.tif", pixels, ome=True, metadata={"axes": "CYX"})
    with tifffile.TiffFile(whole) as tif:
        text = tif.pages.first.description
    path = write(tmp_path / "part.ome.tif", pixels[:2], description=text, metadata=None)
    with pytest.raises(InputError, match=r"part\.ome\.tif: pages that its metadata name"):
        open_image(path)


def test_many_unnamed_pages_are_rather_a_stack(tmp_path: Path, rng: np.random.Generator) -> None:
    planes = rng.integers(0, 9, (70, 80, 90), np.uint8)
    path = write(tmp_path / "pages.tif", planes)
    with pytest.raises(InputError, match=r"pages\.tif.*\(70, 80, 90\).*3-D stack"):
        open_image(path)
    names = [f"marker {index}" for index in range(70)]
    np.testing.assert_array_equal(open_image(path, channels=names).read(), planes)


def test_alpha_is_left_out(tmp_path: Path, rng: np.random.Generator) -> None:
    rgba = rng.integers(0, 256, (40, 30, 4), np.uint8)
    path = write(tmp_path / "a.tif", rgba, photometric="rgb", extrasamples=["unassalpha"])
    opened = open_image(path)
    assert opened.channels == ("red", "green", "blue")
    assert opened.notes == ("The alpha channel is left out.",)
    np.testing.assert_array_equal(opened.read(), rgba.transpose(2, 0, 1)[:3])


def test_a_fourth_sample_that_is_not_alpha_stays(tmp_path: Path, rng: np.random.Generator) -> None:
    samples = rng.integers(0, 256, (40, 30, 4), np.uint8)
    path = write(tmp_path / "a.tif", samples, photometric="rgb", extrasamples=["unspecified"])
    assert open_image(path).channels == ("red", "green", "blue", "channel-3")


def test_several_images_in_a_file(tmp_path: Path, pixels: np.ndarray) -> None:
    path = tmp_path / "several.tif"
    with tifffile.TiffWriter(path) as writer:
        writer.write(pixels, photometric="minisblack")
        writer.write(pixels[:, :50, :40], photometric="minisblack")
    opened = open_image(path)
    np.testing.assert_array_equal(opened.read(), pixels)
    assert opened.notes == ("The file holds 2 images; the first is read.",)


def test_full_resolution_of_a_pyramid(tmp_path: Path, pixels: np.ndarray) -> None:
    path = tmp_path / "pyramid.ome.tif"
    with tifffile.TiffWriter(path) as writer:
        options: dict[str, Any] = {"tile": (16, 16), "photometric": "minisblack"}
        writer.write(pixels, subifds=1, metadata={"axes": "CYX"}, compression="zlib", **options)
        writer.write(pixels[:, ::2, ::2], subfiletype=1, **options)
    check(path, pixels)


def test_indexed_colours_and_cmyk_are_refused(tmp_path: Path, rng: np.random.Generator) -> None:
    colour_map = rng.integers(0, 65536, (3, 256), np.uint16)
    index = rng.integers(0, 256, (8, 8), np.uint8)
    path = write(tmp_path / "p.tif", index, photometric="palette", colormap=colour_map)
    with pytest.raises(InputError, match=r"p\.tif: it stores indexed colours.*Save it as RGB"):
        open_image(path)
    inks = rng.integers(0, 256, (8, 8, 4), np.uint8)
    with pytest.raises(InputError, match=r"c\.tif: it stores CMYK"):
        open_image(write(tmp_path / "c.tif", inks, photometric="separated"))


@pytest.mark.parametrize("layout", [*LAYOUTS, *INTERLEAVED])
def test_truncated(tmp_path: Path, pixels: np.ndarray, layout: str) -> None:
    options = LAYOUTS.get(layout) or INTERLEAVED.get(layout) or {}
    array = pixels.transpose(1, 2, 0).copy() if layout in INTERLEAVED else pixels
    data = write(tmp_path / "whole.tif", array, **options).read_bytes()
    path = tmp_path / "cut.tif"
    refused = 0
    for length in [6, 100, *np.linspace(300, len(data) - 1, 12).astype(int).tolist()]:
        path.write_bytes(data[:length])
        try:
            read = open_image(path).read()
        except InputError as error:
            refused += path.name in str(error)
        else:  # what was cut off may be metadata alone, but never pixels
            np.testing.assert_array_equal(read, pixels)
    assert refused >= 12


def test_damaged_segment(tmp_path: Path, pixels: np.ndarray) -> None:
    path = write(tmp_path / "broken.tif", pixels, tile=(16, 16), compression="zlib")
    data = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as tif:
        at = tif.pages.first.dataoffsets[1]
    data[at : at + 64] = bytes(64)
    path.write_bytes(data)
    opened = open_image(path)
    with pytest.raises(InputError, match=r"broken\.tif: the file is damaged"):
        opened.read()
    np.testing.assert_array_equal(opened.read(Region(32, 0, 64, 64)), pixels[:, 32:64, :64])


def test_a_file_cut_after_opening(tmp_path: Path, pixels: np.ndarray) -> None:
    path = write(tmp_path / "cut.tif", pixels, compression="zlib")
    opened = open_image(path)
    opened.read(Region(0, 0, 1, 1))
    path.write_bytes(path.read_bytes()[:20_000])
    with pytest.raises(InputError, match=r"cut\.tif"):
        opened.read()


def test_sparse_tiles_are_zeros(tmp_path: Path) -> None:
    path = tmp_path / "sparse.tif"
    tiles = iter([np.ones((16, 16), np.uint8), None, None, np.ones((16, 16), np.uint8)])
    options: dict[str, Any] = {"shape": (32, 32), "dtype": "u1", "tile": (16, 16)}
    tifffile.imwrite(path, tiles, compression="zlib", photometric="minisblack", **options)
    assert open_image(path).read().sum() == 2 * 256


def table_of(path: Path, name: str) -> tuple[int, int, str]:
    """Where a table of the first page stands, how long it is, and the type of its entries."""
    with tifffile.TiffFile(path) as tif:
        tag = tif.pages.first.tags[name]
        return tag.valueoffset, tag.count, {3: "H", 4: "I"}[int(tag.dtype)]


def test_tiles_with_bytes_but_no_place_are_not_zeros(tmp_path: Path, pixels: np.ndarray) -> None:
    path = write(tmp_path / "a.tif", pixels[0], tile=(32, 32), compression="zlib")
    at, count, kind = table_of(path, "TileOffsets")
    data = bytearray(path.read_bytes())
    struct.pack_into(f"<{count}{kind}", data, at, *([0] * count))
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"a\.tif: the TIFF is damaged: tile 0 has .* no place"):
        open_image(path).read()


def test_an_image_of_which_no_tile_is_stored(tmp_path: Path) -> None:
    ones = np.ones((64, 64), np.uint8)
    path = write(tmp_path / "a.tif", ones, tile=(16, 16), compression="zlib")
    at, count, kind = table_of(path, "TileByteCounts")
    data = bytearray(path.read_bytes())
    struct.pack_into(f"<{count}{kind}", data, at, *([0] * count))
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"a\.tif: none of its pixels is stored"):
        open_image(path)
    assert not read_labels(path).any()


@pytest.mark.parametrize("layout", [{"tile": (16, 16)}, {"rowsperstrip": 10}])
def test_a_table_that_is_too_short(tmp_path: Path, pixels: np.ndarray, layout: Any) -> None:
    path = write(tmp_path / "a.tif", pixels[0], compression="zlib", **layout)
    with tifffile.TiffFile(path) as tif:
        at = tif.pages.first.tags["ImageLength"].valueoffset
    data = bytearray(path.read_bytes())
    struct.pack_into("<H", data, at, 5000)
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"a\.tif: the TIFF is damaged: its table has"):
        open_image(path)


def test_tables_of_another_type_are_not_read_as_zeros(tmp_path: Path, pixels: np.ndarray) -> None:
    path = write(tmp_path / "a.tif", pixels[0], rowsperstrip=10)
    with tifffile.TiffFile(path) as tif:
        at = tif.pages.first.tags["StripByteCounts"].offset + 2
    data = bytearray(path.read_bytes())
    struct.pack_into("<H", data, at, 11)  # as floats, these are close to 0
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"a\.tif: the TIFF is damaged: places and sizes"):
        open_image(path)
