"""What a file says about its pixels is done: orientation, 0 that is white, YCbCr, sizes."""

import math
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import PIL.Image
import PIL.ImageOps
import pytest
import tifffile

from abbe.errors import InputError
from abbe.imaging import Region, open_image, open_slide
from abbe.imaging.opening import Reading

COLOURS = {"teal": (20, 130, 140), "rose": (220, 90, 120), "sand": (200, 190, 90)}


@pytest.fixture
def picture() -> np.ndarray:
    """(24, 36, 3) uint8: blocks of 12 px in six colours, so that no turn looks like another."""
    blocks = np.array([[*COLOURS.values()], [(0, 0, 0), (255, 255, 255), (90, 60, 30)]], np.uint8)
    return np.kron(blocks, np.ones((12, 12, 1), np.uint8))


def exif(orientation: int) -> PIL.Image.Exif:
    tags = PIL.Image.Exif()
    tags[274] = orientation
    return tags


def write_turned(path: Path, stored: np.ndarray, orientation: int) -> None:
    picture = PIL.Image.fromarray(stored)
    if path.suffix == ".tif":
        tag = (274, "H", 1, orientation, True)
        tifffile.imwrite(path, stored, extratags=[tag], metadata=None, compression="zlib")
    elif path.suffix == ".jpg":
        picture.save(path, exif=exif(orientation), quality=95, subsampling=0)
    else:
        picture.save(path, exif=exif(orientation))


def upright(path: Path, orientation: int) -> np.ndarray:
    """(C, H, W) as Pillow turns it, which knows nothing of ours."""
    with PIL.Image.open(path) as opened:
        if path.suffix == ".tif":  # Pillow turns a TIFF when it decodes it
            return np.atleast_3d(np.asarray(opened)).transpose(2, 0, 1)
        return np.atleast_3d(np.asarray(PIL.ImageOps.exif_transpose(opened))).transpose(2, 0, 1)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["jpg", "png", "tif"])
def test_images_are_turned_as_viewers_do(
    tmp_path: Path, picture: np.ndarray, kind: str, orientation: int
) -> None:
    path = tmp_path / f"a.{kind}"
    write_turned(path, picture, orientation)
    opened, expected = open_image(path), upright(path, orientation)
    assert opened.shape == expected.shape[1:] == ((36, 24) if orientation > 4 else (24, 36))
    np.testing.assert_array_equal(opened.read(), expected)
    region = Region(3, 5, 20, 23)
    np.testing.assert_array_equal(
        opened.read(region, ["blue", "red"]), expected[[2, 0], 3:20, 5:23]
    )
    said = "turned upright" in " ".join(opened.notes)
    assert said == (orientation != 1)


def test_levels_of_a_pyramid_are_turned_and_sides_of_pixels_swapped(tmp_path: Path) -> None:
    ramp = np.arange(64 * 96, dtype=np.uint16).reshape(64, 96)
    path, tag = tmp_path / "a.tif", [(274, "H", 1, 6, True)]
    options: dict[str, Any] = {"tile": (16, 16), "extratags": tag, "metadata": None}
    with tifffile.TiffWriter(path) as writer:
        writer.write(ramp, subifds=1, resolution=(2e4, 1.99e4), resolutionunit=3, **options)
        writer.write(ramp[::2, ::2], subfiletype=1, **options)
    fine, coarse = open_slide(path).levels
    np.testing.assert_array_equal(fine.read()[0], np.rot90(ramp, -1))
    np.testing.assert_array_equal(coarse.read()[0], np.rot90(ramp[::2, ::2], -1))
    assert coarse.shape == (48, 32)
    part = Region(4, 3, 30, 20)
    np.testing.assert_array_equal(coarse.read(part)[0], np.rot90(ramp[::2, ::2], -1)[4:30, 3:20])


@pytest.mark.parametrize("dtype", ["u1", "u2"])
def test_where_0_is_white_bright_is_made_high(tmp_path: Path, dtype: str) -> None:
    light = np.arange(40 * 30).reshape(40, 30).astype(dtype)
    highest = np.iinfo(dtype).max
    tifffile.imwrite(tmp_path / "a.tif", highest - light, photometric="miniswhite")
    opened = open_image(tmp_path / "a.tif")
    np.testing.assert_array_equal(opened.read()[0], light)
    assert "0 is white" in opened.notes[0]


@pytest.mark.parametrize("compression", ["group4", "group3", None, "packbits", "tiff_lzw"])
def test_where_0_is_white_of_one_bit(tmp_path: Path, compression: str | None) -> None:
    light = np.random.default_rng(0).random((40, 30)) > 0.7
    picture = PIL.Image.fromarray(light)
    picture.save(tmp_path / "a.tif", compression=compression, tiffinfo={262: 0})
    with tifffile.TiffFile(tmp_path / "a.tif") as tif:
        assert tif.series[0].keyframe.photometric == 0  # else it tests nothing
    np.testing.assert_array_equal(open_image(tmp_path / "a.tif").read()[0], light)


def test_tags_of_0_is_white_that_mean_nothing(tmp_path: Path) -> None:
    mask = np.random.default_rng(0).random((40, 30)) > 0.7
    tifffile.imwrite(tmp_path / "mask.tif", mask)  # tifffile's default for booleans
    opened = open_image(tmp_path / "mask.tif")
    np.testing.assert_array_equal(opened.read()[0], mask)
    assert "stored values are used" in opened.notes[0]
    grey = np.arange(1200, dtype=np.uint8).reshape(40, 30)
    description = "ImageJ=1.54f\nimages=1\n"
    options: dict[str, Any] = {"description": description, "metadata": None}
    tifffile.imwrite(tmp_path / "ij.tif", grey, photometric="miniswhite", **options)
    opened = open_image(tmp_path / "ij.tif")
    np.testing.assert_array_equal(opened.read()[0], grey)
    assert "inverting table" in opened.notes[0]


def ycbcr(picture: np.ndarray) -> np.ndarray:
    return np.asarray(PIL.Image.fromarray(picture).convert("YCbCr"))


@pytest.mark.parametrize("layout", ["contig", "separate"])
@pytest.mark.parametrize("compression", [None, "lzw", "zlib"])
def test_ycbcr_becomes_rgb(
    tmp_path: Path, picture: np.ndarray, compression: str | None, layout: Any
) -> None:
    stored = ycbcr(picture)
    options: dict[str, Any] = {"photometric": "ycbcr", "compression": compression}
    if layout == "contig":
        tifffile.imwrite(tmp_path / "a.tif", stored, subsampling=(1, 1), **options)
    else:
        planes = np.ascontiguousarray(stored.transpose(2, 0, 1))
        tifffile.imwrite(tmp_path / "a.tif", planes, planarconfig="separate", **options)
    opened = open_image(tmp_path / "a.tif")
    assert opened.channels == ("red", "green", "blue")
    expected = picture.transpose(2, 0, 1).astype(int)
    assert np.abs(opened.read() - expected).max() <= 2
    part = opened.read(Region(2, 3, 20, 30), ["blue", "red"])
    assert np.abs(part - expected[[2, 0], 2:20, 3:30]).max() <= 2


def test_ycbcr_of_a_narrower_range_and_other_primaries(tmp_path: Path) -> None:
    grey = np.array([[[16, 128, 128], [235, 128, 128]]], np.uint8)  # black and white of television
    reference = (16, 1, 235, 1, 128, 1, 240, 1, 128, 1, 240, 1)
    luma = (2126, 10000, 7152, 10000, 722, 10000)
    tags = [(532, "2I", 6, reference, True), (529, "2I", 3, luma, True)]
    options: dict[str, Any] = {"photometric": "ycbcr", "extratags": tags}
    tifffile.imwrite(tmp_path / "a.tif", np.repeat(grey, 2, 0), **options)
    seen = open_image(tmp_path / "a.tif").read()
    assert seen[:, 0].T.tolist() == [[0, 0, 0], [255, 255, 255]]


def write_aperio(path: Path, picture: np.ndarray, compression: int) -> None:
    """As Aperio writes JPEG 2000: the tag says RGB whatever the code stream holds."""
    options: dict[str, Any] = {"level": 0, "mct": False, "codecformat": "j2k"}
    tiles: Any = (
        imagecodecs.jpeg2k_encode(np.ascontiguousarray(picture[y : y + 16, x : x + 16]), **options)
        for y in range(0, picture.shape[0], 16)
        for x in range(0, picture.shape[1], 16)
    )
    tifffile.imwrite(
        path, tiles, shape=picture.shape, dtype="u1", photometric="rgb", tile=(16, 16),
        compression=compression, metadata=None,
        description="Aperio Image Library v11.2\r\n144x96 J2K/YUV16|MPP = 0,25",
    )  # fmt: skip


def test_aperio_jpeg_2000(tmp_path: Path, picture: np.ndarray) -> None:
    large = np.kron(picture, np.ones((4, 4, 1), np.uint8))
    expected = large.transpose(2, 0, 1).astype(int)
    write_aperio(tmp_path / "ycbcr.svs", ycbcr(large), 33003)
    write_aperio(tmp_path / "rgb.svs", large, 33005)
    for name in ("ycbcr", "rgb"):
        opened = open_image(tmp_path / f"{name}.svs")
        assert opened.channels == ("red", "green", "blue")
        assert opened.pixel_size == 0.25  # the file has a decimal comma
        assert np.abs(opened.read() - expected).max() <= 2


def test_ycbcr_that_cannot_be_told_is_refused(tmp_path: Path, picture: np.ndarray) -> None:
    options: dict[str, Any] = {"photometric": "ycbcr", "metadata": None}
    tifffile.imwrite(tmp_path / "j2k.tif", ycbcr(picture), compression="jpeg2000", **options)
    with pytest.raises(InputError, match=r"j2k\.tif.*not known whether they are converted"):
        open_image(tmp_path / "j2k.tif")
    tifffile.imwrite(tmp_path / "deep.tif", ycbcr(picture).astype("u2"), **options)
    with pytest.raises(InputError, match=r"deep\.tif.*only 8 bits.*Save it as RGB"):
        open_image(tmp_path / "deep.tif")


def test_the_largest_image_is_read_wherever_it_stands(tmp_path: Path) -> None:
    pixels = np.arange(60 * 80, dtype=np.uint16).reshape(60, 80)
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        for part in (pixels[::4, ::4], pixels, pixels[:50, :30]):
            writer.write(part, photometric="minisblack", metadata=None)
    opened = open_image(tmp_path / "a.tif")
    np.testing.assert_array_equal(opened.read()[0], pixels)
    assert opened.notes == ("The file holds 3 images; number 2, the largest, is read.",)


def test_names_and_sizes_are_those_of_the_image_that_is_read(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.ome.tif", ome=True) as writer:
        for side, name, size in ((10, "label", 9.0), (40, "DAPI", 0.5)):
            metadata = {"axes": "YX", "Channel": {"Name": name}}
            metadata |= {"PhysicalSizeX": size, "PhysicalSizeY": size}
            writer.write(np.full((side, side), side, np.uint8), metadata=metadata)
    opened = open_image(tmp_path / "a.ome.tif")
    assert (opened.shape, opened.channels, opened.pixel_size) == ((40, 40), ("DAPI",), 0.5)


@pytest.mark.parametrize("unit", ["cm", "inch"])
def test_a_printer_s_resolution_in_imagej_is_not_believed(tmp_path: Path, unit: str) -> None:
    dots = 72 / 2.54 if unit == "cm" else 72.0
    options: dict[str, Any] = {"imagej": True, "resolution": (dots, dots)}
    pixels = np.zeros((20, 30), np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", pixels, metadata={"unit": unit}, **options)
    opened = open_image(tmp_path / "a.tif")
    assert opened.pixel_size is None
    assert f"'{unit}'" in opened.notes[0]
    assert "not known" in opened.notes[0]
    assert open_image(tmp_path / "a.tif", pixel_size=0.5).pixel_size == 0.5


def test_a_printer_s_resolution_passed_on_as_micrometres_is_not_believed(tmp_path: Path) -> None:
    metadata = {"axes": "YX", "PhysicalSizeX": 352.777, "PhysicalSizeY": 352.777}
    tifffile.imwrite(tmp_path / "a.ome.tif", np.zeros((20, 30), np.uint8), metadata=metadata)
    opened = open_image(tmp_path / "a.ome.tif")
    assert opened.pixel_size is None
    assert "72 dpi" in opened.notes[0]
    assert open_image(tmp_path / "a.ome.tif", pixel_size=0.5).pixel_size == 0.5


@pytest.mark.parametrize(
    ("text", "expected"),
    [("0,25", 0.25), ("", None), ("n/a", None), ("inf", None), ("1e-300", None), ("1e9", None)],
)
def test_physical_sizes_that_are_no_plain_numbers_or_impossible(
    tmp_path: Path, text: str, expected: float | None
) -> None:
    path = tmp_path / "a.ome.tif"
    metadata = {"axes": "YX", "PhysicalSizeX": 0.25, "PhysicalSizeY": 0.25}
    tifffile.imwrite(path, np.zeros((20, 30), np.uint8), metadata=metadata)
    with tifffile.TiffFile(path) as tif:
        xml = str(tif.ome_metadata).replace('"0.25"', f'"{text}"')
    tifffile.imwrite(path, np.zeros((20, 30), np.uint8), description=xml.encode(), metadata=None)
    opened = open_image(path)
    assert opened.pixel_size == expected
    assert bool(opened.notes) == (expected is None)
    assert open_image(path, pixel_size=0.5).pixel_size == (expected or 0.5)


def test_a_resolution_that_no_pixel_has_is_not_believed(tmp_path: Path) -> None:
    path, most = tmp_path / "a.tif", (2**32 - 1, 1)
    tifffile.imwrite(path, np.zeros((20, 30), np.uint8), resolution=(most, most), resolutionunit=3)
    opened = open_image(path)
    assert opened.pixel_size is None
    assert "2.328e-06 µm, is none that a pixel can have" in opened.notes[0]


@pytest.mark.parametrize("size", [0, -1, math.nan, math.inf, 1e-30, 1e30])
def test_a_users_pixel_size_that_no_pixel_has_is_refused(tmp_path: Path, size: float) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((20, 30), np.uint8))
    for reading in (Reading(pixel_size=size), Reading(override_pixel_size=size)):
        with pytest.raises(InputError, match=r"no pixel is .* µm wide\. Give its size"):
            reading.open(tmp_path / "a.tif")


def test_transparency_without_an_alpha_channel_is_said(tmp_path: Path) -> None:
    grey = PIL.Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8))
    grey.save(tmp_path / "a.png", transparency=5)
    opened = open_image(tmp_path / "a.png")
    np.testing.assert_array_equal(opened.read()[0], np.arange(64).reshape(8, 8))
    assert opened.notes == ("The alpha channel is left out.",)
