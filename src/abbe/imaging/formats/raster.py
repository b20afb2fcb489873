"""PNG and JPEG: decoded whole, with checks that the libraries leave out."""

import os
import struct
import zlib
from collections.abc import Mapping
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import imagecodecs
import numpy as np
import PIL.Image

from abbe.errors import InputError
from abbe.imaging.bounds import check_growth, check_shape, check_size
from abbe.imaging.image import ArrayPixels, Contents
from abbe.imaging.units import plausible
from abbe.imaging.views import turned, turned_array

RGB = ("red", "green", "blue")

# PNG colour type → (samples once palettes are looked up, of which one is alpha)
_PNG_SAMPLES = {0: (1, False), 2: (3, False), 3: (3, False), 4: (2, True), 6: (4, True)}
_ORIENTATION = 0x0112
# Markers that start a frame: SOF0 … SOF15 without DHT, JPG and DAC.
_JPEG_FRAMES = set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
# Huffman's shortest code is one bit, and each block of 8 × 8 px has at least one.
_PIXELS_PER_BYTE = 8 * 64
_LARGEST_CHUNK = 1 << 20  # bytes: what is longer holds pixels, profiles or texts


def _file(path: Path) -> Path:
    """The file itself; of one behind a URL its copy here."""
    return Path(os.fspath(path))


def open_png(path: Path) -> Contents:
    """Read a PNG's chunks: 1 to 16 bits; palettes become RGB and alpha is left out.

    imagecodecs decodes, because Pillow reduces 16-bit RGB to 8 bits. The image is turned as EXIF
    in it says. The resolution chunk gives the pixel size only where it is below 10 µm: most
    programs write 72 or 96 dpi there.
    """
    chunks = _png_chunks(path)
    if len(chunks.get(b"IHDR", b"")) != 13:
        raise InputError(f"{path}: the PNG is truncated or damaged. Copy or export it again.")
    width, height, bits, colour = struct.unpack(">IIBB", chunks[b"IHDR"][:10])
    if colour not in _PNG_SAMPLES:
        raise InputError(f"{path}: the PNG is damaged (colour type {colour}). Export it again.")
    samples, alpha = _PNG_SAMPLES[colour]
    dtype = np.dtype(np.uint16 if bits == 16 else np.uint8)
    kept = samples - alpha
    check_shape((height, width), str(path))
    decoded = width * height * samples * dtype.itemsize
    check_size(decoded, str(path))
    check_growth(decoded, path.stat().st_size, str(path))
    contents = Contents(
        shape=(height, width),
        channel_count=kept,
        dtype=dtype,
        load=partial(_decode_png, path, kept),
        channels=RGB if kept == 3 else None,
        pixel_size=_png_pixel_size(chunks.get(b"pHYs", b"")),
        notes=("The alpha channel is left out.",) if alpha or b"tRNS" in chunks else (),
    )
    return turned(contents, _png_orientation(chunks))


def _png_chunks(path: Path) -> dict[bytes, bytes]:
    """The small chunks by kind, of each kind the first; the pixels are passed over."""
    chunks: dict[bytes, bytes] = {}
    with open(path, "rb") as file:
        file.seek(8)
        while len(head := file.read(8)) == 8:
            size, kind = int.from_bytes(head[:4], "big"), head[4:]
            if kind == b"IDAT" or size > _LARGEST_CHUNK:
                file.seek(size + 4, 1)
                continue
            data, check = file.read(size), file.read(4)
            sound = zlib.crc32(kind + data) == int.from_bytes(check, "big")
            if sound or kind == b"IHDR":  # what the header promises is refused before its checksum
                chunks.setdefault(kind, data)
            if kind == b"IEND":
                break
    return chunks


def _png_orientation(chunks: Mapping[bytes, bytes]) -> int:
    return _exif_orientation(b"Exif\0\0" + chunks[b"eXIf"]) if b"eXIf" in chunks else 1


def _exif_orientation(data: bytes) -> int:
    exif = PIL.Image.Exif()
    exif.load(data)
    return int(exif.get(_ORIENTATION, 1))


def is_palette_png(path: Path) -> bool:
    """Whether the PNG stores indices into a palette of colours."""
    with open(path, "rb") as file:
        return file.read(26)[25:26] == b"\x03"


def palette_indices(path: Path) -> tuple[np.ndarray, tuple[str, ...]]:
    """The stored indices of a palette PNG, (H, W) uint8, and notes.

    Of a picture in black and white alone, black becomes 0 and white 1, whichever comes first in
    the palette.
    """
    notes = open_png(path).notes  # the same checks of header and size
    chunks = _png_chunks(path)
    with PIL.Image.open(BytesIO(_whole_png(path))) as image:
        indices = turned_array(np.asarray(image), _png_orientation(chunks))
    palette = chunks.get(b"PLTE", b"")
    colours = np.frombuffer(palette[: len(palette) // 3 * 3], np.uint8).reshape(-1, 3)
    if len(colours) <= indices.max(initial=0):
        raise InputError(f"{path}: the PNG's palette is damaged. Export it again.")
    shown = colours if len(colours) == 2 else colours[np.unique(indices)]
    if sorted(shown.tolist()) != [[0, 0, 0], [255, 255, 255]]:
        return indices, notes
    white = (colours[:, 0] == 255)[indices]
    if not np.array_equal(white, indices > 0):
        notes += ("Its palette shows 0 as white: what is white is taken for the objects.",)
    return white.astype(np.uint8), notes


def _whole_png(path: Path) -> bytes:
    data = _file(path).read_bytes()
    if b"IEND" not in data[-4096:]:
        raise InputError(f"{path}: the PNG is truncated. Copy or export it again.")
    return data


def _decode_png(path: Path, kept: int) -> ArrayPixels:
    pixels = imagecodecs.png_decode(_whole_png(path))
    if pixels.ndim == 2:
        return ArrayPixels(pixels, "YX")
    return ArrayPixels(pixels[..., :kept], "YXC")


def _png_pixel_size(resolution: bytes) -> tuple[float, float] | None:
    if len(resolution) != 9:
        return None
    horizontal, vertical, unit = struct.unpack(">IIB", resolution)
    if unit != 1 or not horizontal or not vertical:  # 1: px per metre
        return None
    return plausible((1e6 / vertical, 1e6 / horizontal))


def open_jpeg(path: Path) -> Contents:
    """Read a JPEG's header: grey or RGB of 8, 12 or 16 bits; CMYK of 8 bits becomes RGB.

    The image is turned as its EXIF says. Density tags are print sizes and never taken for a pixel
    size.
    """
    data = _file(path).read_bytes()
    (bits, height, width, components, huffman), orientation = _jpeg_header(path, data)
    dtype = np.dtype(np.uint8 if bits == 8 else np.uint16)
    decoded = width * height * components * dtype.itemsize
    check_size(decoded, str(path))
    check_growth(decoded, len(data), str(path))
    if huffman and width * height > _PIXELS_PER_BYTE * len(data):
        raise InputError(
            f"{path}: the JPEG should have {height} × {width} px, for which its {len(data):,} "
            "bytes are too few: it is damaged. Copy or export it again."
        )
    if components not in (1, 3, 4) or (components == 4 and bits != 8):
        raise InputError(
            f"{path}: a JPEG of {components} components and {bits} bits is not supported. "
            "Save it as grey or RGB."
        )
    contents = Contents(
        shape=(height, width),
        channel_count=1 if components == 1 else 3,
        dtype=dtype,
        load=partial(_decode_jpeg, path, components),
        channels=None if components == 1 else RGB,
        notes=("CMYK was converted to RGB.",) if components == 4 else (),
    )
    return turned(contents, orientation)


class _Frame(NamedTuple):
    """What a JPEG's frame header states."""

    bits: int
    height: int
    width: int
    components: int
    huffman: bool


def _jpeg_header(path: Path, data: bytes) -> tuple[_Frame, int]:
    """The frame's header and the EXIF orientation, once the file is known to be whole.

    libjpeg fills what is missing with grey, so the end is checked here: an end marker must follow
    the start of the pixels (inside them, the byte 0xFF never stands before 0xD9).
    """
    frame: _Frame | None = None
    orientation = 1
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker, size = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        payload = data[at + 4 : at + 2 + size]
        if marker == 0xFF:  # a fill byte
            at += 1
            continue
        if marker in _JPEG_FRAMES and len(payload) >= 6:
            frame = _Frame(*struct.unpack(">BHHB", payload[:6]), huffman=marker < 0xC8)
        elif marker == 0xE1 and payload.startswith(b"Exif"):
            orientation = _exif_orientation(payload)
        elif marker == 0xDA and frame and data.find(b"\xff\xd9", at) > 0:
            return frame, orientation
        elif marker == 0xDA:
            break
        at += 2 + size
    raise InputError(f"{path}: the JPEG is truncated or damaged. Copy or export it again.")


def _decode_jpeg(path: Path, components: int) -> ArrayPixels:
    data = _file(path).read_bytes()
    if components == 4:
        with PIL.Image.open(BytesIO(data)) as image:
            return ArrayPixels(np.asarray(image.convert("RGB")), "YXC")
    pixels = imagecodecs.jpeg_decode(data)
    return ArrayPixels(pixels, "YX" if pixels.ndim == 2 else "YXC")
