"""Tiled OME-TIFF of any size, written tile by tile; large ones with coarser levels for viewers.

A viewer that shows a whole slide needs it small: each level has half the sides of the one before.
What a tile adds to the next level waits, compressed, in a nameless file beside the result, which
the system takes away whatever happens. So each pixel is asked for once, and memory holds no more
than the tiles in hand.
"""

import math
import tempfile
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import imagecodecs
import numpy as np

from abbe.files import atomic_path
from abbe.imaging import Region
from abbe.runtime.tiling.executors import in_order

TILE = 512
"""Side of a tile in the file, px."""
PYRAMID_FROM = 4096
"""An image with a side above this many px gets coarser levels: QuPath asks for some from there."""
_SMALLEST_LEVEL = 1024
# A classic TIFF ends at 4 GiB; what zlib makes of labels is far smaller, but not surely so. Coarser
# levels add a third.
_BIG = 2 << 30
_EFFORT = 5  # of zlib, 0 to 9

Plane = Callable[[Region], np.ndarray]
"""Pixels of a region of one plane of the image, (h, w)."""
Halve = Callable[[np.ndarray], np.ndarray]
"""(h, w) → (⌈h/2⌉, ⌈w/2⌉) of the same type."""
Kept = Callable[[int, Region], tuple[bytes, np.ndarray | None] | None]
"""Level and place of a tile → the tile as it stands in the file, and what is to be put aside for
the next level, if any; None where it is still to be encoded."""


def every_second(pixels: np.ndarray) -> np.ndarray:
    """Nearest neighbour: every second row and column. Numbers of objects stay what they are."""
    return pixels[::2, ::2]


def mean_of_four(pixels: np.ndarray) -> np.ndarray:
    """The mean of each 2 × 2 px, at an odd border of those that are there; halves to even."""
    height, width = pixels.shape
    even = np.pad(pixels, ((0, height % 2), (0, width % 2)), mode="edge").astype(np.uint32)
    rows = even[::2] + even[1::2]
    total = rows[:, ::2] + rows[:, 1::2]
    return ((total + 1 + (total >> 2 & 1)) >> 2).astype(pixels.dtype)  # without a bias upwards


def level_shapes(shape: tuple[int, int]) -> list[tuple[int, int]]:
    """(H, W) of all levels, the finest first, until no side is above 1024 px."""
    shapes = [shape]
    while max(shapes[-1]) > _SMALLEST_LEVEL:
        height, width = shapes[-1]
        shapes.append((-(-height // 2), -(-width // 2)))
    return shapes


def levels_of(shape: tuple[int, int]) -> list[tuple[int, int]]:
    """(H, W) of the levels that a file of this shape has."""
    return level_shapes(shape) if max(shape) > PYRAMID_FROM else [shape]


def regions(shape: tuple[int, ...], side: int) -> Iterator[Region]:
    """Squares that cover a plane, row by row; those at its end are cut."""
    height, width = shape
    for top in range(0, height, side):
        for left in range(0, width, side):
            yield Region(top, left, min(top + side, height), min(left + side, width))


def write_tiff(
    path: Path,
    planes: Sequence[Plane],
    shape: tuple[int, int],
    dtype: np.dtype[Any],
    halve: Halve,
    pool: Executor,
    most: int,
    *,
    pixel_size: float | None,
    names: Sequence[str] | None = None,
    description: str | None = None,
    kept: Kept | None = None,
) -> None:
    """Write planes as tiled, zlib-compressed OME-TIFF, atomically; BigTIFF where it may be large.

    An image with a side above 4096 px gets SubIFDs with its coarser levels.

    Args:
        path: The file.
        planes: Give the pixels; several threads ask at once.
        shape: (H, W) of each plane.
        dtype: What the planes give.
        halve: Makes a tile of the next level.
        pool, most: Threads, and how many tiles to have in hand.
        pixel_size: In µm, if it is known.
        names: Of the planes, as channels; None for a single plane without a name.
        description: Of the image, for whoever reads its metadata.
        kept: Tiles of a single plane encoded before: `abbe.runtime.writing.tiff.parts`.

    Raises:
        OSError: The disk is full or cannot be written to; nothing is left behind.
    """
    import tifffile

    levels = levels_of(shape)
    front = () if names is None else (len(planes),)
    # By itself tifffile takes a UUID of version 1, which holds the machine's network address.
    metadata = {**_metadata(names, pixel_size), "UUID": str(uuid.uuid4())}
    if description is not None:
        metadata["Description"] = description
    big = math.prod((*front, *shape)) * dtype.itemsize > _BIG
    # The file is opened here: tifffile would finish a broken one, and hide that closing it failed.
    with (
        atomic_path(path) as temporary,
        tempfile.TemporaryFile(dir=path.parent) as scratch,
        open(temporary, "wb+") as file,
    ):
        waiting = Waiting(scratch, dtype)
        writer = tifffile.TiffWriter(file, bigtiff=big, ome=True)
        for number, size in enumerate(levels):
            last = number == len(levels) - 1
            level = Level(planes, number, size, None if last else halve, waiting, kept)
            options: dict[str, Any] = {"subfiletype": 1}
            if number == 0:
                options = {"subifds": len(levels) - 1, "metadata": metadata}
            if pixel_size is not None:
                per_cm = 1e4 / (pixel_size * 2**number)
                options |= {"resolution": (per_cm, per_cm), "resolutionunit": "CENTIMETER"}
            writer.write(
                in_order(pool, level.encoded, level.tiles(), most),
                shape=(*front, *size),
                dtype=dtype,
                tile=(TILE, TILE),
                compression="zlib",
                photometric="minisblack",
                **options,
            )
        writer.close()


@dataclass(frozen=True)
class Level:
    """One level of all planes, tile by tile; threads may encode several at once."""

    planes: Sequence[Plane]
    number: int
    shape: tuple[int, int]
    halve: Halve | None
    waiting: "Waiting"
    kept: Kept | None = None

    def tiles(self) -> Iterator[tuple[int, Region]]:
        """Plane and place of each tile, in the order of the file."""
        for plane in range(len(self.planes)):
            for region in regions(self.shape, TILE):
                yield plane, region

    def encoded(self, tile: tuple[int, Region]) -> bytes:
        """A tile as it stands in the file; what it adds to the next level is put aside."""
        plane, region = tile
        part = self.number + 1, plane, region.top // 2, region.left // 2
        if self.kept is not None and (found := self.kept(self.number, region)) is not None:
            data, half = found
            if half is not None:
                self.waiting.put(part, half)
            return data
        pixels = self.planes[plane](region) if self.number == 0 else self._joined(plane, region)
        if self.halve is not None:
            self.waiting.put(part, self.halve(pixels))
        return bytes(imagecodecs.zlib_encode(_whole_tile(pixels).tobytes(), level=_EFFORT))

    def _joined(self, plane: int, region: Region) -> np.ndarray:
        """A tile from the parts that up to four tiles of the level before have put aside."""
        height, width = region.bottom - region.top, region.right - region.left
        joined = np.empty((height, width), self.waiting.dtype)
        for top in range(0, height, TILE // 2):
            for left in range(0, width, TILE // 2):
                part = self.waiting.get((self.number, plane, region.top + top, region.left + left))
                joined[top : top + part.shape[0], left : left + part.shape[1]] = part
        return joined


class Waiting:
    """Parts of the next level by number of level, plane, top and left: compressed, in a file."""

    def __init__(self, file: IO[bytes], dtype: np.dtype[Any]) -> None:
        self.dtype = dtype
        self._file = file
        self._end = 0
        self._places: dict[tuple[int, int, int, int], tuple[int, int, tuple[int, ...]]] = {}
        self._lock = threading.Lock()

    def put(self, key: tuple[int, int, int, int], part: np.ndarray) -> None:
        """Put a part aside."""
        data = imagecodecs.zstd_encode(np.ascontiguousarray(part).tobytes(), level=1)
        with self._lock:
            self._file.seek(self._end)
            self._file.write(data)
            self._places[key] = self._end, len(data), part.shape
            self._end += len(data)

    def get(self, key: tuple[int, int, int, int]) -> np.ndarray:
        """A part that was put aside, once."""
        with self._lock:
            start, size, shape = self._places.pop(key)
            self._file.seek(start)
            data = self._file.read(size)
        return np.frombuffer(imagecodecs.zstd_decode(data), self.dtype).reshape(shape)


def _metadata(names: Sequence[str] | None, pixel_size: float | None) -> dict[str, Any]:
    metadata: dict[str, Any] = {"axes": "YX"}
    if names is not None:
        metadata = {"axes": "CYX", "Channel": {"Name": list(names)}}
    if pixel_size is not None:
        metadata |= {
            "PhysicalSizeX": pixel_size, "PhysicalSizeXUnit": "µm",
            "PhysicalSizeY": pixel_size, "PhysicalSizeYUnit": "µm",
        }  # fmt: skip
    return metadata


def _whole_tile(part: np.ndarray) -> np.ndarray:
    """A tile of full size: zeros beyond the image."""
    height, width = part.shape
    if part.shape == (TILE, TILE):
        return np.ascontiguousarray(part)
    return np.pad(part, ((0, TILE - height), (0, TILE - width)))
