"""PNG and JPEG: bit depths, palettes, alpha, CMYK, truncation, bombs."""

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import PIL.Image
import pytest

from abbe.errors import InputError
from abbe.imaging import open_image


def save(path: Path, picture: PIL.Image.Image, **options: Any) -> Path:
    picture.save(path, **options)
    return path


@pytest.fixture
def colours(rng: np.random.Generator) -> np.ndarray:
    return rng.integers(0, 256, (40, 30, 3), np.uint8)


def test_png_agrees_with_pillow(tmp_path: Path, colours: np.ndarray) -> None:
    for mode in ("L", "RGB", "P", "1"):
        picture = PIL.Image.fromarray(colours).convert(mode)
        opened = open_image(save(tmp_path / f"{mode}.png", picture))
        expected = np.asarray(picture.convert("RGB" if mode in ("RGB", "P") else "L"))
        expected = expected.transpose(2, 0, 1) if expected.ndim == 3 else expected[None]
        assert len(opened.channels) == len(expected)
        np.testing.assert_array_equal(opened.read(), expected)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_png_of_16_bits_keeps_16_bits(
    tmp_path: Path, rng: np.random.Generator, channels: int
) -> None:
    pixels = rng.integers(0, 65536, (20, 30, channels), np.uint16)
    path = tmp_path / "deep.png"
    path.write_bytes(imagecodecs.png_encode(pixels))
    read = open_image(path).read()
    assert read.dtype == np.uint16
    np.testing.assert_array_equal(read, pixels.transpose(2, 0, 1)[: min(channels, 3)])


@pytest.mark.parametrize(("mode", "names"), [("RGBA", ("red", "green", "blue")), ("LA", ("grey",))])
def test_alpha_is_left_out_and_said(
    tmp_path: Path, colours: np.ndarray, mode: str, names: tuple[str, ...]
) -> None:
    picture = PIL.Image.fromarray(colours).convert(mode)
    picture.putalpha(7)
    opened = open_image(save(tmp_path / "alpha.png", picture))
    assert opened.channels == names
    assert opened.notes == ("The alpha channel is left out.",)
    assert opened.read().shape == (len(names), 40, 30)
    np.testing.assert_array_equal(opened.read(), np.moveaxis(np.asarray(picture), -1, 0)[:-1])


def test_transparent_palette_png(tmp_path: Path, colours: np.ndarray) -> None:
    picture = PIL.Image.fromarray(colours).convert("P")
    opened = open_image(save(tmp_path / "palette.png", picture, transparency=0))
    expected = np.asarray(picture.convert("RGB")).transpose(2, 0, 1)
    np.testing.assert_array_equal(opened.read(), expected)


def test_interlaced_png(tmp_path: Path, rng: np.random.Generator) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + checksum

    pixels = rng.integers(0, 256, (11, 13), np.uint8)
    # Adam7: (first row, first column, row step, column step) of each pass
    passes = [
        (0, 0, 8, 8),
        (0, 4, 8, 8),
        (4, 0, 8, 4),
        (0, 2, 4, 4),
        (2, 0, 4, 2),
        (0, 1, 2, 2),
        (1, 0, 2, 1),
    ]
    rows = [b"\0" + row.tobytes() for r, c, dr, dc in passes for row in pixels[r::dr, c::dc]]
    path = tmp_path / "interlaced.png"
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", 13, 11, 8, 0, 0, 0, 1))
        + chunk(b"IDAT", zlib.compress(b"".join(rows)))
        + chunk(b"IEND", b"")
    )
    np.testing.assert_array_equal(open_image(path).read()[0], pixels)


@pytest.mark.parametrize("kind", ["grey", "rgb", "palette", "deep"])
@pytest.mark.parametrize("part", [0.001, 0.05, 0.3, 0.7, 0.95, 0.999])
def test_truncated_png(tmp_path: Path, rng: np.random.Generator, kind: str, part: float) -> None:
    pixels = rng.integers(0, 256, (64, 64, 3), np.uint8)
    stream = io.BytesIO()
    if kind == "deep":
        stream.write(imagecodecs.png_encode(pixels.astype(np.uint16)))
    else:
        mode = {"grey": "L", "rgb": "RGB", "palette": "P"}[kind]
        PIL.Image.fromarray(pixels).convert(mode).save(stream, "PNG")
    data = stream.getvalue()
    path = tmp_path / "cut.png"
    path.write_bytes(data[: max(9, int(len(data) * part))])
    with pytest.raises(InputError, match=r"cut\.png.*truncated"):
        open_image(path).read()


def test_png_with_a_damaged_middle(tmp_path: Path, colours: np.ndarray) -> None:
    path = save(tmp_path / "broken.png", PIL.Image.fromarray(colours))
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 40] = bytes(40)
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"broken\.png: the file is damaged"):
        open_image(path).read()


@pytest.mark.parametrize("kind", ["png", "jpg"])
def test_bomb_is_refused_before_decoding(tmp_path: Path, kind: str) -> None:
    path = save(tmp_path / f"bomb.{kind}", PIL.Image.new("RGB", (64, 64)))
    data = bytearray(path.read_bytes())
    if kind == "png":
        data[16:24] = struct.pack(">II", 100_000, 100_000)
    else:
        at = data.index(b"\xff\xc0")
        data[at + 5 : at + 9] = struct.pack(">HH", 65_000, 65_000)
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"bomb\.\w+: .* GiB would have to be decoded"):
        open_image(path)


def test_png_resolution_only_where_it_can_be_a_pixel_size(tmp_path: Path) -> None:
    picture = PIL.Image.new("L", (8, 8))
    for dpi, expected in ((72, None), (96, None), (300, None), (25400 / 0.5, 0.5)):
        opened = open_image(save(tmp_path / "dpi.png", picture, dpi=(dpi, dpi)))
        assert opened.pixel_size == (None if expected is None else pytest.approx(expected, 1e-3))


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_jpeg_agrees_with_pillow(
    tmp_path: Path, colours: np.ndarray, mode: str, progressive: bool
) -> None:
    picture = PIL.Image.fromarray(colours).convert(mode)
    path = save(tmp_path / "image.jpg", picture, quality=95, progressive=progressive)
    with PIL.Image.open(path) as file:
        expected = np.asarray(file.convert("L" if mode == "L" else "RGB")).astype(int)
    expected = expected[None] if mode == "L" else expected.transpose(2, 0, 1)
    opened = open_image(path)
    assert opened.channels == (("grey",) if mode == "L" else ("red", "green", "blue"))
    assert np.abs(opened.read().astype(int) - expected).max() <= 2
    assert bool(opened.notes) == (mode == "CMYK")


@pytest.mark.parametrize(("bits", "lossless"), [(12, False), (12, True), (16, True)])
def test_jpeg_of_more_than_8_bits(
    tmp_path: Path, rng: np.random.Generator, bits: int, lossless: bool
) -> None:
    ramp = np.linspace(0, 2**bits - 1, 64 * 64).reshape(64, 64).astype(np.uint16)
    path = tmp_path / "deep.jpg"
    path.write_bytes(
        imagecodecs.jpeg8_encode(ramp, bitspersample=bits, lossless=lossless, level=98)
    )
    opened = open_image(path)
    assert opened.dtype == np.uint16
    difference = np.abs(opened.read()[0].astype(int) - ramp)
    assert difference.max() <= (0 if lossless else 2 ** (bits - 7))


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"exif": b"Exif\0\0"}])
@pytest.mark.parametrize("part", [0.01, 0.3, 0.9, 0.999])
def test_truncated_jpeg(
    tmp_path: Path, rng: np.random.Generator, part: float, options: dict[str, Any]
) -> None:
    pixels = rng.integers(0, 256, (128, 128, 3), np.uint8)
    path = save(tmp_path / "cut.jpg", PIL.Image.fromarray(pixels), quality=90, **options)
    data = path.read_bytes()
    path.write_bytes(data[: max(4, int(len(data) * part))])
    with pytest.raises(InputError, match=r"cut\.jpg: the JPEG is truncated"):
        open_image(path)


def test_a_jpeg_that_claims_more_pixels_than_its_bytes_can_hold(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    """libjpeg would fill the missing part with grey, 900 megapixels of it."""
    picture = PIL.Image.fromarray(rng.integers(0, 256, (64, 64, 3), np.uint8))
    path = save(tmp_path / "wide.jpg", picture, quality=90)
    data = bytearray(path.read_bytes())
    at = data.index(b"\xff\xc0") + 5
    data[at : at + 4] = struct.pack(">HH", 30000, 30000)
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"wide\.jpg: .* bytes would become 2\.5 GiB"):
        open_image(path)


def test_the_plainest_jpegs_hold_as_many_pixels_as_they_claim(tmp_path: Path) -> None:
    picture = PIL.Image.new("RGB", (3000, 2000), (200, 150, 170))
    for options in ({}, {"optimize": True}, {"progressive": True, "optimize": True}):
        opened = open_image(save(tmp_path / "plain.jpg", picture, quality=10, **options))
        assert opened.shape == (2000, 3000)
        assert np.ptp(opened.read()[0]) == 0


def test_a_resolution_whose_checksum_is_wrong_is_not_believed(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", PIL.Image.new("L", (9, 9), 7), dpi=(25400, 25400))
    assert open_image(path).pixel_size == pytest.approx(1.0, rel=1e-3)
    data = bytearray(path.read_bytes())
    data[data.index(b"pHYs") + 7] ^= 8
    path.write_bytes(data)
    assert open_image(path).pixel_size is None


def test_a_jpeg_with_a_broken_table_is_not_read_as_nothing(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    """The decoder gives an array without pixels then, and raises nothing."""
    picture = PIL.Image.fromarray(rng.integers(0, 256, (64, 64, 3), np.uint8))
    path = save(tmp_path / "odd.jpg", picture, quality=90)
    data = bytearray(path.read_bytes())
    at = data.index(b"\xff\xc4") + 5
    data[at : at + 16] = b"\xff" * 16
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"odd\.jpg"):
        open_image(path).read()
