"""Labels and probability maps as files of any size: tiled TIFF and OME-Zarr, written by region."""

import math
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np

from abbe.files import atomic_path
from abbe.imaging import Region
from abbe.runtime.field import Labels, Maps
from abbe.runtime.outlines import in_order

TILE = 512
"""Side of a tile in the file, px."""
_CHUNK = 1024
_SMALLEST_LEVEL = 1024
# A classic TIFF ends at 4 GiB; what zlib makes of labels is far smaller, but not surely so.
_BIG = 2 << 30

ZarrVersion = Literal["0.4", "0.5"]


def write_label_tiff(
    path: Path, labels: Labels, pool: Executor, most: int, pixel_size: float | None
) -> None:
    """Write labels as one tiled, zlib-compressed plane, atomically; BigTIFF where it may be large.

    uint16, or uint32 where there are more than 65,535 objects.
    """
    dtype = np.dtype(np.uint16 if labels.count <= np.iinfo(np.uint16).max else np.uint32)

    def encoded(region: Region) -> np.ndarray:
        return _whole_tile(labels.read(region).astype(dtype))

    tiles = in_order(pool, encoded, _regions(labels.shape, TILE), most)
    _write_tiff(path, tiles, labels.shape, dtype, pixel_size, {})


def write_map_tiff(
    path: Path,
    maps: Maps,
    pool: Executor,
    most: int,
    pixel_size: float | None,
) -> None:
    """Write probability maps as tiled, compressed planes of uint8 = round(255 p), atomically."""

    def tiles() -> Iterator[np.ndarray]:
        for output in range(len(maps.outputs)):

            def encoded(region: Region, output: int = output) -> np.ndarray:
                return _whole_tile(maps.read(region)[output])

            yield from in_order(pool, encoded, _regions(maps.shape, TILE), most)

    metadata = {"axes": "CYX", "Channel": {"Name": list(maps.outputs)}}
    shape = len(maps.outputs), *maps.shape
    _write_tiff(path, tiles(), shape, np.dtype(np.uint8), pixel_size, metadata)


def write_label_zarr(
    path: Path,
    labels: Labels,
    pool: Executor,
    most: int,
    pixel_size: float | None,
    version: ZarrVersion = "0.5",
) -> None:
    """Write labels as an OME-Zarr image with ``image-label`` metadata and a pyramid, atomically.

    int32, chunks of 1024 px; each level takes every second pixel of the one before.
    """
    import zarr

    with _atomic_folder(path) as temporary:
        zarr_format = 2 if version == "0.4" else 3
        group = zarr.open_group(str(temporary), mode="w", zarr_format=zarr_format)
        shapes = _levels(labels.shape)
        for level, shape in enumerate(shapes):
            array = group.create_array(
                str(level),
                shape=shape,
                chunks=(min(_CHUNK, shape[0]), min(_CHUNK, shape[1])),
                dtype=np.int32,
                chunk_key_encoding={
                    "name": "v2" if zarr_format == 2 else "default",
                    "separator": "/",
                },
            )
            above: Any = None if level == 0 else group[str(level - 1)]

            def fill(region: Region, array: Any = array, above: Any = above) -> None:
                rows, columns = slice(region.top, region.bottom), slice(region.left, region.right)
                if above is None:
                    array[rows, columns] = labels.read(region)
                else:
                    larger = above[
                        2 * region.top : 2 * region.bottom, 2 * region.left : 2 * region.right
                    ]
                    array[rows, columns] = larger[::2, ::2]

            for _ in in_order(pool, fill, _regions(shape, _CHUNK), most):
                pass
        group.attrs.update(_ome_attributes(path.name, len(shapes), pixel_size, version))


def _write_tiff(
    path: Path,
    tiles: Iterator[np.ndarray],
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    pixel_size: float | None,
    metadata: dict[str, Any],
) -> None:
    import tifffile

    resolution: dict[str, Any] = {}
    if pixel_size is not None:
        resolution = {"resolution": (1e4 / pixel_size,) * 2, "resolutionunit": "CENTIMETER"}
        metadata = metadata | {
            "PhysicalSizeX": pixel_size, "PhysicalSizeXUnit": "µm",
            "PhysicalSizeY": pixel_size, "PhysicalSizeYUnit": "µm",
        }  # fmt: skip
    big = math.prod(shape) * dtype.itemsize > _BIG
    with (
        atomic_path(path) as temporary,
        tifffile.TiffWriter(temporary, bigtiff=big, ome=True) as writer,
    ):
        writer.write(
            tiles,
            shape=shape,
            dtype=dtype,
            tile=(TILE, TILE),
            compression="zlib",
            compressionargs={"level": 5},
            photometric="minisblack",
            metadata={"axes": "YX"} | metadata,
            maxworkers=1,
            **resolution,
        )


def _regions(shape: tuple[int, ...], side: int) -> Iterator[Region]:
    """Squares that cover a plane, row by row; those at its end are cut."""
    height, width = shape
    for top in range(0, height, side):
        for left in range(0, width, side):
            yield Region(top, left, min(top + side, height), min(left + side, width))


def _whole_tile(part: np.ndarray) -> np.ndarray:
    """A tile of full size: zeros beyond the image."""
    height, width = part.shape
    if part.shape == (TILE, TILE):
        return part
    return np.pad(part, ((0, TILE - height), (0, TILE - width)))


def _levels(shape: tuple[int, int]) -> list[tuple[int, int]]:
    shapes = [shape]
    while max(shapes[-1]) > _SMALLEST_LEVEL:
        height, width = shapes[-1]
        shapes.append((-(-height // 2), -(-width // 2)))
    return shapes


def _ome_attributes(
    name: str, levels: int, pixel_size: float | None, version: ZarrVersion
) -> dict[str, Any]:
    axes = [{"name": letter, "type": "space"} for letter in "yx"]
    if pixel_size is not None:
        axes = [axis | {"unit": "micrometer"} for axis in axes]
    size = pixel_size or 1.0
    datasets = [
        {
            "path": str(level),
            "coordinateTransformations": [{"type": "scale", "scale": [size * 2**level] * 2}],
        }
        for level in range(levels)
    ]
    multiscale = {"name": name, "axes": axes, "datasets": datasets, "type": "nearest"}
    if version == "0.4":
        return {
            "multiscales": [multiscale | {"version": version}],
            "image-label": {"version": version},
        }
    ome = {"version": version, "multiscales": [multiscale], "image-label": {}}
    return {"ome": ome}


@contextmanager
def _atomic_folder(path: Path) -> Iterator[Path]:
    """Yield a hidden folder beside ``path``; on success it takes its place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        yield temporary
        if path.exists():
            shutil.rmtree(path)
        os.replace(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
