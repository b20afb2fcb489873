"""The strips or tiles of a TIFF, each decoded only when a region touches it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tifffile

from abbe.errors import InputError
from abbe.imaging.bounds import check_size
from abbe.imaging.formats.tiff_bounds import segment_bytes, segment_shape, stated_pixels
from abbe.imaging.image import Region
from abbe.remote.alike import parts_of

_PADDED, _SMALL = 4, 1 << 16
"""Pictures may be padded: times the pixels of a tile, and pixels."""


def truncated(path: Path, end: int, length: int) -> InputError:
    """The refusal of a file that ends before its pixels do."""
    return InputError(
        f"{path}: the TIFF is truncated: it should reach byte {end:,}, but has {length:,}. "
        "Copy or export it again."
    )


@dataclass(frozen=True)
class Plane:
    """Where the segments of one plane lie; ``first`` is the number of its first segment."""

    offsets: np.ndarray
    counts: np.ndarray
    first: int
    tables: bytes | None
    header: bytes | None


def planes_of(series: tifffile.TiffPageSeries, axes: str) -> list[Plane] | None:
    """One plane a channel, or one for all if samples interleave; None if pages are not planes."""
    page = series.keyframe
    size = dict(zip(axes, series.shape, strict=True))
    pages = [p for p in series.pages if p is not None and p.parent is page.parent]
    if (page.imagelength, page.imagewidth) != (size["Y"], size["X"]) or page.imagedepth != 1:
        return None
    if len(pages) != len(series.pages) or page.samplesperpixel * len(pages) != size.get("C", 1):
        return None
    separate = page.samplesperpixel if page.planarconfig == 2 else 1
    if (separate > 1 or page.samplesperpixel > 1) and len(pages) > 1:
        return None
    planes = []
    for frame in pages:
        each = len(frame.dataoffsets) // separate
        for sample in range(separate):
            own = slice(sample * each, (sample + 1) * each)
            offsets = np.asarray(frame.dataoffsets[own])
            counts = np.asarray(frame.databytecounts[own])
            header = getattr(frame, "jpegheader", None)
            planes.append(Plane(offsets, counts, own.start, frame.jpegtables, header))
    return planes


class TiffSegments:
    """Strips or tiles, each decoded only when a region touches it."""

    def __init__(self, path: Path, page: tifffile.TiffPage, planes: tuple[Plane, ...]) -> None:
        self.path = path
        self.planes = planes
        self.decode = page.decode
        self.dtype = np.dtype(page.dtype)
        self.interleaved = page.samplesperpixel if page.planarconfig != 2 else 1
        self.segment = segment_shape(page)
        self.columns = -(-page.imagewidth // self.segment[1])
        check_size(segment_bytes(page), str(path))

    def read(self, region: Region, channels: Sequence[int]) -> np.ndarray:
        """Pixels of ``region``, (len(channels), height, width)."""
        if self.interleaved > 1:
            block = self._read_plane(self.planes[0], region)
            return np.ascontiguousarray(block[..., list(channels)].transpose(2, 0, 1))
        return np.stack([self._read_plane(self.planes[i], region)[..., 0] for i in channels])

    def _read_plane(self, plane: Plane, region: Region) -> np.ndarray:
        height, width = region.bottom - region.top, region.right - region.left
        block = np.zeros((height, width, self.interleaved), self.dtype)
        rows, columns = self.segment
        numbers = [
            row * self.columns + column
            for row in range(region.top // rows, -(-region.bottom // rows))
            for column in range(region.left // columns, -(-region.right // columns))
        ]
        stored = parts_of(self.path, [self._place(plane, number) for number in numbers])
        for number, data in zip(numbers, stored, strict=True):
            decoded, _, _ = self.decode(
                self._checked(plane, number, data) if data else None,
                plane.first + number,
                jpegtables=plane.tables,
                jpegheader=plane.header,
            )
            row, column = divmod(number, self.columns)
            top, left = row * rows - region.top, column * columns - region.left
            if decoded is not None:
                _paste(block, decoded[0], top, left)
        return block

    def _place(self, plane: Plane, number: int) -> tuple[int, int]:
        """Where a strip or tile begins, and its bytes."""
        offset, count = int(plane.offsets[number]), int(plane.counts[number])
        if count and not offset:
            raise InputError(
                f"{self.path}: the TIFF is damaged: tile {number} has {count:,} bytes, but no "
                "place. Copy or export it again."
            )
        return offset, count

    def _checked(self, plane: Plane, number: int, data: bytes) -> bytes:
        offset, count = self._place(plane, number)
        if len(data) < count:
            raise truncated(self.path, offset + count, offset + len(data))
        own = self.segment[0] * self.segment[1]
        if (stated := stated_pixels(data)) > _PADDED * own + _SMALL:
            raise InputError(
                f"{self.path}: the TIFF is damaged: its tile {number} should have {own:,} px, but "
                f"the picture in it states {stated:,}. Copy or export it again."
            )
        return data


def _paste(block: np.ndarray, segment: np.ndarray, top: int, left: int) -> None:
    """Copy the part of ``segment`` that falls into ``block``, when its corner lies at top, left."""
    bottom = min(top + segment.shape[0], block.shape[0])
    right = min(left + segment.shape[1], block.shape[1])
    above, before = max(top, 0), max(left, 0)
    block[above:bottom, before:right] = segment[
        above - top : bottom - top, before - left : right - left
    ]
