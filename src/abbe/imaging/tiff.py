"""TIFF, OME-TIFF, ImageJ TIFF, SVS, QPTIFF: only the strips or tiles that a region touches."""

import math
import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from abbe.errors import InputError
from abbe.imaging.image import ArrayPixels, Contents, Levels, Pixels, Region, check_size
from abbe.imaging.layout import axes_of_array, check_2d
from abbe.imaging.tiff_metadata import names_in_tiff, pixel_size_in_tiff

# Photometric interpretations whose samples are not intensities that a model could see.
_UNSUPPORTED_COLOURS = {
    3: "indexed colours (a palette)",
    5: "CMYK",
    8: "CIELAB",
    9: "ICCLAB",
    10: "ITULAB",
}
_ALPHA = (1, 2)  # values of ExtraSamples: associated and unassociated alpha


def open_tiff(path: Path, channels: Sequence[str] | None) -> Contents:
    """Read a TIFF's tables: first series, full resolution.

    Channels are the samples of a pixel, planes of a planar file, or pages. Pages without axis
    metadata follow ``layout.axes_of_array``. Alpha is left out. Sparse tiles are zeros, as the
    format says. Where the file is compressed and its pages are not its planes (axes YXC, parts in
    other files) the whole of it is decoded.
    """
    with tifffile.TiffFile(path) as tif:
        _check_whole(tif, path)
        series = tif.series[0]
        page = series.keyframe
        source = str(path)
        axes = _axes(series, channels, source)
        _check_colours(tif, page, source)
        if series.dtype is None:
            raise InputError(f"{path}: its pixel type is not supported. Save it as uint16.")
        size = dict(zip(axes, series.shape, strict=True))
        count = size.get("C", 1)
        notes = _notes(tif, page)
        if _has_alpha(page, axes, series.axes):
            count -= 1
            notes += ("The alpha channel is left out.",)
        return Contents(
            shape=(size["Y"], size["X"]),
            channel_count=count,
            dtype=np.dtype(series.dtype),
            load=partial(_load, path, axes, 0),
            channels=names_in_tiff(tif, series, count),
            pixel_size=pixel_size_in_tiff(tif, page),
            notes=notes,
            coarser=partial(coarser_levels, path, axes),
            empty=_is_empty(series),
        )


def coarser_levels(path: Path, axes: str) -> Levels:
    """Shape (H, W) and loader of each level below the finest of a pyramidal TIFF.

    Raises:
        InputError: A level is truncated, without a stored pixel, or of another form than the
            finest.
    """
    with tifffile.TiffFile(path) as tif:
        full = tif.series[0]
        found: Levels = []
        for number, level in enumerate(full.levels[1:], start=1):
            if level.axes != full.axes or level.dtype != full.dtype:
                raise InputError(
                    f"{path}: level {number} of the pyramid has axes {level.axes} and type "
                    f"{level.dtype}, the finest {full.axes} and {full.dtype}. Export it again."
                )
            _check_segments(tif, level, path)
            if _is_empty(level):
                raise InputError(
                    f"{path}: none of the pixels of level {number} of the pyramid is stored, so "
                    "that all would be 0. Copy or export it again."
                )
            size = dict(zip(axes, level.shape, strict=True))
            found.append(((size["Y"], size["X"]), partial(_load, path, axes, number)))
        return found


def _is_empty(series: tifffile.TiffPageSeries) -> bool:
    """Whether no strip or tile has any bytes, which would be read as zeros."""
    return not any(page is not None and any(page.databytecounts) for page in series.pages)


def _axes(series: tifffile.TiffPageSeries, channels: Sequence[str] | None, source: str) -> str:
    """The axes of the series in our letters: Y, X, C and axes of length one."""
    axes, shape = series.axes, series.shape
    unnamed = [letter for letter in axes if letter in "QI"]
    if unnamed and "S" not in axes:
        return axes_of_array(shape, channels, source, "TIFF")
    if "S" in axes:  # with an axis C beside it these are several colour images
        axes = axes.replace("C", "I").replace("S", "C")
    check_2d(axes, shape, source)
    return axes


def _check_colours(tif: tifffile.TiffFile, page: tifffile.TiffPage, source: str) -> None:
    # ImageJ's palettes are for display: the stored values are the intensities.
    if tif.is_imagej and page.photometric == 3:
        return
    if colours := _UNSUPPORTED_COLOURS.get(int(page.photometric or 0)):
        raise InputError(f"{source}: it stores {colours}. Save it as RGB or as grey.")


def _has_alpha(page: tifffile.TiffPage, axes: str, stored_axes: str) -> bool:
    extra = page.extrasamples
    return "C" in axes and "S" in stored_axes and bool(extra) and extra[-1] in _ALPHA


def _notes(tif: tifffile.TiffFile, page: tifffile.TiffPage) -> tuple[str, ...]:
    notes = ()
    if len(tif.series) > 1:
        notes += (f"The file holds {len(tif.series)} images; the first is read.",)
    if page.photometric == 0 and page.bitspersample != 1:
        notes += ("Its tag says that 0 is white; the stored values are used as they are.",)
    return notes


def _check_whole(tif: tifffile.TiffFile, path: Path) -> None:
    """Refuse a truncated file before tifffile makes do with the part that is there."""
    length = tif.filehandle.size
    if not len(tif.pages) or not tif.series:
        raise InputError(f"{path}: the TIFF has no image in it; it is damaged or truncated.")
    last = tif.pages[len(tif.pages) - 1]
    at = last.offset
    with open(path, "rb") as file:
        file.seek(at)
        count = struct.unpack(tif.tiff.tagnoformat, file.read(tif.tiff.tagnosize))[0]
        file.seek(at + tif.tiff.tagnosize + count * tif.tiff.tagsize)
        link = file.read(tif.tiff.offsetsize)
    following = struct.unpack(tif.tiff.offsetformat, link)[0] if len(link) > 3 else length
    if following >= length:
        raise _truncated(path, following, length)
    _check_segments(tif, tif.series[0], path)


def _check_segments(tif: tifffile.TiffFile, series: tifffile.TiffPageSeries, path: Path) -> None:
    """Refuse pages that are not there, or whose strips or tiles reach beyond the file's end."""
    length = tif.filehandle.size
    for page in series.pages:
        if page is None:
            raise InputError(
                f"{path}: pages that its metadata name are missing, or are in files that are not "
                "here. Put all files of the set side by side, or export the image as one file."
            )
        if page.parent is not tif:
            continue
        if len(page.dataoffsets) < (needed := math.prod(page.chunked)):
            raise InputError(
                f"{path}: the TIFF is damaged: its table has {len(page.dataoffsets):,} strips or "
                f"tiles, but {needed:,} make up the image. Copy or export it again."
            )
        if needed:
            offsets, counts = np.asarray(page.dataoffsets), np.asarray(page.databytecounts)
            if offsets.dtype.kind not in "ui" or counts.dtype.kind not in "ui":
                raise InputError(
                    f"{path}: the TIFF is damaged: places and sizes of its strips or tiles are no "
                    "whole numbers. Copy or export it again."
                )
            offsets, counts = offsets.astype(np.uint64), counts.astype(np.uint64)
            if (end := int((offsets + counts).max())) > length:
                raise _truncated(path, end, length)


def _truncated(path: Path, end: int, length: int) -> InputError:
    return InputError(
        f"{path}: the TIFF is truncated: it should reach byte {end:,}, but has {length:,}. "
        "Copy or export it again."
    )


def _load(path: Path, axes: str, level: int) -> Pixels:
    with tifffile.TiffFile(path) as tif:
        series = tif.series[0].levels[level]
        page = series.keyframe
        if series.dataoffset is not None and not page.is_tiled and series.dtype is not None:
            return _map(path, tif.byteorder, series, axes)
        planes = _planes(series, axes)
        if planes is None:
            check_size(series.nbytes, str(path))
            return ArrayPixels(series.asarray(), axes)
        return TiffSegments(path, page, tuple(planes))


def _map(path: Path, order: str, series: tifffile.TiffPageSeries, axes: str) -> ArrayPixels:
    """A memory map of pixels that lie uncompressed in one piece."""
    dtype = np.dtype(series.dtype).newbyteorder("<" if order == "<" else ">")
    offset = series.dataoffset or 0
    end = offset + series.nbytes
    if (length := os.path.getsize(path)) < end:
        raise _truncated(path, end, length)
    return ArrayPixels(np.memmap(path, dtype, "r", offset, tuple(series.shape)), axes)


@dataclass(frozen=True)
class _Plane:
    """Where the segments of one plane lie; ``first`` is the number of its first segment."""

    offsets: np.ndarray
    counts: np.ndarray
    first: int
    tables: bytes | None
    header: bytes | None


def _planes(series: tifffile.TiffPageSeries, axes: str) -> list[_Plane] | None:
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
            planes.append(_Plane(offsets, counts, own.start, frame.jpegtables, header))
    return planes


class TiffSegments:
    """Strips or tiles, each decoded only when a region touches it."""

    def __init__(self, path: Path, page: tifffile.TiffPage, planes: tuple[_Plane, ...]) -> None:
        self.path = path
        self.planes = planes
        self.decode = page.decode
        self.dtype = np.dtype(page.dtype)
        self.interleaved = page.samplesperpixel if page.planarconfig != 2 else 1
        self.segment = (
            (page.tilelength, page.tilewidth)
            if page.is_tiled
            else (page.rowsperstrip, page.imagewidth)
        )
        self.columns = -(-page.imagewidth // self.segment[1])
        rows, columns = self.segment
        check_size(rows * columns * self.interleaved * self.dtype.itemsize, str(path))

    def read(self, region: Region, channels: Sequence[int]) -> np.ndarray:
        """Pixels of ``region``, (len(channels), height, width)."""
        with open(self.path, "rb") as file:
            if self.interleaved > 1:
                block = self._read_plane(file, self.planes[0], region)
                return np.ascontiguousarray(block[..., list(channels)].transpose(2, 0, 1))
            return np.stack(
                [self._read_plane(file, self.planes[i], region)[..., 0] for i in channels]
            )

    def _read_plane(self, file: Any, plane: _Plane, region: Region) -> np.ndarray:
        height, width = region.bottom - region.top, region.right - region.left
        block = np.zeros((height, width, self.interleaved), self.dtype)
        rows, columns = self.segment
        for row in range(region.top // rows, -(-region.bottom // rows)):
            for column in range(region.left // columns, -(-region.right // columns)):
                number = row * self.columns + column
                data = self._bytes(file, plane, number)
                decoded, _, _ = self.decode(
                    data, plane.first + number, jpegtables=plane.tables, jpegheader=plane.header
                )
                top, left = row * rows - region.top, column * columns - region.left
                if decoded is not None:
                    _paste(block, decoded[0], top, left)
        return block

    def _bytes(self, file: Any, plane: _Plane, number: int) -> bytes | None:
        offset, count = int(plane.offsets[number]), int(plane.counts[number])
        if not count:
            return None
        if not offset:
            raise InputError(
                f"{self.path}: the TIFF is damaged: tile {number} has {count:,} bytes, but no "
                "place. Copy or export it again."
            )
        file.seek(offset)
        data = file.read(count)
        if len(data) < count:
            raise _truncated(self.path, offset + count, offset + len(data))
        return data


def _paste(block: np.ndarray, segment: np.ndarray, top: int, left: int) -> None:
    """Copy the part of ``segment`` that falls into ``block``, when its corner lies at top, left."""
    bottom = min(top + segment.shape[0], block.shape[0])
    right = min(left + segment.shape[1], block.shape[1])
    above, before = max(top, 0), max(left, 0)
    block[above:bottom, before:right] = segment[
        above - top : bottom - top, before - left : right - left
    ]
