"""TIFF, OME-TIFF, ImageJ TIFF, SVS, QPTIFF: only the strips or tiles that a region touches."""

import math
import os
import struct
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import tifffile

from abbe.errors import InputError
from abbe.imaging.bounds import LARGEST_READ, check_shape, check_size, free_memory
from abbe.imaging.formats.tiff_bounds import check_segment_growth, open_tables, segment_bytes
from abbe.imaging.formats.tiff_colours import JPEG, as_meant, check_colours
from abbe.imaging.formats.tiff_metadata import names_in_tiff, pixel_size_in_tiff
from abbe.imaging.formats.tiff_segments import TiffSegments, planes_of, truncated
from abbe.imaging.image import ArrayPixels, Contents, Levels, Pixels, Region
from abbe.imaging.layout import axes_of_array, check_2d
from abbe.remote import as_remote
from abbe.remote.alike import opened

_LARGE_SEGMENT = 64 << 20  # bytes
_ALPHA = (1, 2)  # values of ExtraSamples: associated and unassociated alpha


def open_tiff(path: Path, channels: Sequence[str] | None) -> Contents:
    """Read a TIFF's tables: its largest image, full resolution.

    Channels are the samples of a pixel, planes of a planar file, or pages. Pages without axis
    metadata follow ``layout.axes_of_array``. Alpha is left out. Sparse tiles are zeros, as the
    format says. YCbCr becomes RGB, bright is made high where the file says that 0 is white, and
    the image is turned upright; see ``tiff_colours``. Where the file is compressed and its pages
    are not its planes (axes YXC, parts in other files) the whole of it is decoded.
    """
    with open_tables(path) as tif:
        if not len(tif.pages) or not tif.series:
            raise InputError(f"{path}: the TIFF has no image in it; it is damaged or truncated.")
        number = _largest(tif)
        series = tif.series[number]
        _check_whole(tif, series, path)
        page = series.keyframe
        source = str(path)
        check_shape((page.imagelength, page.imagewidth), source)
        axes = _axes(series, channels, source)
        check_colours(tif, page, source)
        if series.dtype is None:
            raise InputError(f"{path}: its pixel type is not supported. Save it as uint16.")
        size = dict(zip(axes, series.shape, strict=True))
        count = size.get("C", 1)
        pixel_size, notes = pixel_size_in_tiff(tif, page, series)
        if len(tif.series) > 1:
            which = "the first" if number == 0 else f"number {number + 1}, the largest,"
            notes += (f"The file holds {len(tif.series)} images; {which} is read.",)
        if _has_alpha(page, axes, series.axes):
            count -= 1
            notes += ("The alpha channel is left out.",)
        contents = Contents(
            shape=(size["Y"], size["X"]),
            channel_count=count,
            dtype=np.dtype(series.dtype),
            load=partial(_load, path, axes, number, 0),
            channels=names_in_tiff(tif, series, count),
            pixel_size=pixel_size,
            notes=notes,
            coarser=partial(coarser_levels, path, axes, number),
            empty=_is_empty(series),
        )
        return as_meant(contents, tif, page, path)


def coarser_levels(path: Path, axes: str, number: int) -> Levels:
    """Shape (H, W) and loader of each level below the finest of a pyramidal TIFF.

    Args:
        path: The file.
        axes: Of its image.
        number: Of the image in the file.

    Raises:
        InputError: A level is truncated, without a stored pixel, or of another form than the
            finest.
    """
    with open_tables(path) as tif:
        full = tif.series[number]
        found: Levels = []
        for at, level in enumerate(full.levels[1:], start=1):
            if level.axes != full.axes or level.dtype != full.dtype:
                raise InputError(
                    f"{path}: level {at} of the pyramid has axes {level.axes} and type "
                    f"{level.dtype}, the finest {full.axes} and {full.dtype}. Export it again."
                )
            _check_segments(tif, level, path)
            if _is_empty(level):
                raise InputError(
                    f"{path}: none of the pixels of level {at} of the pyramid is stored, so "
                    "that all would be 0. Copy or export it again."
                )
            size = dict(zip(axes, level.shape, strict=True))
            found.append(((size["Y"], size["X"]), partial(_load, path, axes, number, at)))
        return found


def _largest(tif: tifffile.TiffFile) -> int:
    """The image with the most pixels, and of several the first: thumbnails may come before it."""
    areas = [
        math.prod(side for axis, side in zip(each.axes, each.shape, strict=True) if axis in "YX")
        for each in tif.series
    ]
    return areas.index(max(areas))


def is_jpeg(path: Path) -> bool:
    """Whether the pixels of a TIFF are compressed as JPEG, which changes their values."""
    with open_tables(path) as tif:
        return int(tif.series[_largest(tif)].keyframe.compression) in JPEG


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


def _has_alpha(page: tifffile.TiffPage, axes: str, stored_axes: str) -> bool:
    extra = page.extrasamples
    return "C" in axes and "S" in stored_axes and bool(extra) and extra[-1] in _ALPHA


def _check_whole(tif: tifffile.TiffFile, series: tifffile.TiffPageSeries, path: Path) -> None:
    """Refuse a truncated file before tifffile makes do with the part that is there."""
    length = tif.filehandle.size
    last = tif.pages[len(tif.pages) - 1]
    at = last.offset
    with opened(path) as file:
        file.seek(at)
        count = struct.unpack(tif.tiff.tagnoformat, file.read(tif.tiff.tagnosize))[0]
        file.seek(at + tif.tiff.tagnosize + count * tif.tiff.tagsize)
        link = file.read(tif.tiff.offsetsize)
    following = struct.unpack(tif.tiff.offsetformat, link)[0] if len(link) > 3 else length
    if following >= length:
        raise truncated(path, following, length)
    _check_segments(tif, series, path)


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
                raise truncated(path, end, length)
            check_segment_growth(series.keyframe, counts.tolist(), path)


def _load(path: Path, axes: str, number: int, level: int) -> Pixels:
    with open_tables(path) as tif:
        series = tif.series[number].levels[level]
        page = series.keyframe
        whole = series.dataoffset is not None and not page.is_tiled and series.dtype is not None
        if whole and as_remote(path) is None:
            return _map(path, tif.byteorder, series, axes)
        planes = planes_of(series, axes)
        if planes is None:
            check_size(series.nbytes, str(path))
            return ArrayPixels(series.asarray(), axes)
        segments = TiffSegments(path, page, tuple(planes))
        if segment_bytes(page) > _LARGE_SEGMENT and series.nbytes <= _room():
            # Each region would decode such strips anew: once and whole is better.
            whole = Region(0, 0, page.imagelength, page.imagewidth)
            return ArrayPixels(segments.read(whole, range(series.size // _area(page))), "CYX")
        return segments


def _room() -> int:
    """Bytes that may be decoded at once and leave as many free."""
    free = free_memory()
    return LARGEST_READ if free is None else min(LARGEST_READ, free // 2)


def _area(page: tifffile.TiffPage) -> int:
    return page.imagelength * page.imagewidth


def _map(path: Path, order: str, series: tifffile.TiffPageSeries, axes: str) -> ArrayPixels:
    """A memory map of pixels that lie uncompressed in one piece."""
    dtype = np.dtype(series.dtype).newbyteorder("<" if order == "<" else ">")
    offset = series.dataoffset or 0
    end = offset + series.nbytes
    if (length := os.path.getsize(path)) < end:
        raise truncated(path, end, length)
    return ArrayPixels(np.memmap(path, dtype, "r", offset, tuple(series.shape)), axes)
