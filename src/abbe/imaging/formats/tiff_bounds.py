"""Checks what a TIFF claims against its bytes before anything decodes it."""

import math
import struct
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from xml.etree import ElementTree

import tifffile

from abbe.errors import InputError
from abbe.imaging.bounds import check_growth
from abbe.remote import as_remote
from abbe.remote.alike import opened

MOST_PLANES = 1 << 20
"""Of all images in a file. tifffile makes a list of them before it looks for any."""

_AXES = ("SizeX", "SizeY", "SizeC", "SizeZ", "SizeT")
_FIRST_PAGES = 16  # that are asked how large a plane may be
_JPEG2000_SIZE = b"\xff\x4f\xff\x51"
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


@contextmanager
def open_tables(path: Path) -> Iterator[tifffile.TiffFile]:
    """A TIFF whose metadata do not promise absurd numbers of planes.

    Raises:
        InputError: They do.
    """
    with ExitStack() as stack:
        file = path if as_remote(path) is None else stack.enter_context(opened(path))
        tif = stack.enter_context(tifffile.TiffFile(file, name=path.name))
        planes = max(_ome_planes(tif), _imagej_planes(tif))
        if planes > MOST_PLANES:
            raise InputError(
                f"{path}: its metadata promise {planes:,} planes, and {MOST_PLANES:,} are the most "
                "that are read: they are damaged. Export it again."
            )
        yield tif


def _ome_planes(tif: tifffile.TiffFile) -> int:
    """Planes as tifffile counts them: as many as the pixels need that the XML states."""
    if not tif.is_ome or not tif.ome_metadata:
        return 0
    first = (tif.pages[at].aspage() for at in range(min(len(tif.pages), _FIRST_PAGES)))
    area = max((page.imagelength * page.imagewidth for page in first), default=0)
    try:
        root = ElementTree.fromstring(tif.ome_metadata)
        return sum(
            math.prod(int(pixels.get(axis, "1")) for axis in _AXES) // max(area, 1)
            for pixels in root.iterfind("{*}Image/{*}Pixels")
        )
    except (ElementTree.ParseError, ValueError):
        return 0  # tifffile then reads it as a plain TIFF, too


def _imagej_planes(tif: tifffile.TiffFile) -> int:
    found = tif.imagej_metadata or {}
    try:
        return max(
            int(found.get("images", 1)),
            math.prod(int(found.get(axis, 1)) for axis in ("channels", "slices", "frames")),
        )
    except (TypeError, ValueError):
        return 0


def check_segment_growth(page: tifffile.TiffPage, counts: Sequence[int], path: Path) -> None:
    """Refuse compressed strips or tiles that are much larger than their bytes.

    Args:
        page: Says how they are made.
        counts: Bytes of each.
        path: The file.

    Raises:
        InputError: They are.
    """
    if int(page.compression) != 1 and page.dtype is not None:
        check_growth(segment_bytes(page), int(max(counts)), str(path))


def segment_bytes(page: tifffile.TiffPage) -> int:
    """Bytes of one strip or tile once it is decoded."""
    rows, columns = segment_shape(page)
    samples = page.samplesperpixel if page.planarconfig != 2 else 1
    return rows * columns * samples * (page.dtype.itemsize if page.dtype else 1)


def segment_shape(page: tifffile.TiffPage) -> tuple[int, int]:
    """Rows and columns of a strip or tile; of a single strip those of the image."""
    if page.is_tiled:
        return page.tilelength, page.tilewidth
    return min(page.rowsperstrip, page.imagelength), page.imagewidth


def stated_pixels(data: bytes) -> int:
    """The pixels that a compressed picture's own header states, 0 where that is not known.

    Strips and tiles hold whole JPEGs, JPEG 2000s, PNGs or WebPs, which their decoders believe,
    whatever the TIFF says. Other codecs are told how much to give.
    """
    if data.startswith(b"\xff\xd8"):
        return _jpeg_pixels(data)
    at = data.find(_JPEG2000_SIZE, 0, 1 << 12)
    if at >= 0 and len(data) >= at + 24:
        right, bottom, left, top = struct.unpack(">4I", data[at + 8 : at + 24])
        return max(right - left, 0) * max(bottom - top, 0)
    if data.startswith(b"\x89PNG") and len(data) >= 24:
        return math.prod(struct.unpack(">2I", data[16:24]))
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return _webp_pixels(data)
    return 0


def _webp_pixels(data: bytes) -> int:
    kind, head = data[12:16], data[20:30]
    if kind == b"VP8 " and len(head) == 10:
        width, height = struct.unpack("<2H", head[6:10])
        return (width & 0x3FFF) * (height & 0x3FFF)
    if kind == b"VP8L" and len(head) >= 5:
        bits = int.from_bytes(head[1:5], "little")
        return ((bits & 0x3FFF) + 1) * ((bits >> 14 & 0x3FFF) + 1)
    if kind == b"VP8X" and len(head) == 10:
        width, height = (int.from_bytes(head[at : at + 3], "little") + 1 for at in (4, 7))
        return width * height
    return 0


def _jpeg_pixels(data: bytes) -> int:
    at = 2
    while at + 9 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker in _JPEG_FRAMES:
            return math.prod(struct.unpack(">2H", data[at + 5 : at + 9]))
        if marker == 0xFF:  # a fill byte
            at += 1
            continue
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return 0
