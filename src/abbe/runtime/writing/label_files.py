"""Labels and probability maps as files of any size: tiled TIFF and OME-Zarr, written by region."""

import json
from concurrent.futures import Executor
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from abbe.files import atomic_folder
from abbe.imaging import Region
from abbe.runtime.job import Block
from abbe.runtime.tiling.executors import in_order
from abbe.runtime.tiling.field import ClassMap, Field, Labels, Maps
from abbe.runtime.writing.tiff.parts import KeptTiles, keep_part
from abbe.runtime.writing.tiff.pyramid import (
    Plane,
    every_second,
    level_shapes,
    mean_of_four,
    regions,
    write_tiff,
)

_CHUNK = 1024

ZarrVersion = Literal["0.4", "0.5"]


def write_label_tiff(
    path: Path, labels: Labels, pool: Executor, most: int, pixel_size: float | None
) -> None:
    """Write labels as one plane of tiled, compressed OME-TIFF, atomically; see `write_tiff`.

    uint16, or uint32 where there are more than 65,535 objects. Coarser levels take every second
    pixel of the one before.
    """
    plane, dtype = _plane_of(labels)
    write_tiff(
        path, [plane], labels.shape, dtype, every_second, pool, most,
        pixel_size=pixel_size, kept=KeptTiles(labels.work),
    )  # fmt: skip


def keep_label_tiff_part(block: Block, labels: Labels) -> None:
    """Encode a part of the file, one of `parts_of`, before it is written."""
    keep_part(block, *_plane_of(labels), labels.shape, labels.work)


def _plane_of(labels: Labels) -> tuple[Plane, np.dtype[Any]]:
    dtype = np.dtype(np.uint16 if labels.count <= np.iinfo(np.uint16).max else np.uint32)

    def plane(region: Region) -> np.ndarray:
        return labels.read(region).astype(dtype)

    return plane, dtype


def write_class_tiff(
    path: Path, classes: ClassMap, pool: Executor, most: int, pixel_size: float | None
) -> None:
    """Write the class of each pixel, uint8, as `write_label_tiff` does.

    The names of the classes stand in the description, a JSON object: ``{"classes": ["a", …]}``.
    """

    def plane(region: Region) -> np.ndarray:
        return classes.read(region)

    write_tiff(
        path, [plane], classes.shape, np.dtype(np.uint8), every_second, pool, most,
        pixel_size=pixel_size,
        description=json.dumps({"classes": list(classes.names)}, ensure_ascii=False),
    )  # fmt: skip


def write_map_tiff(
    path: Path, maps: Maps, pool: Executor, most: int, pixel_size: float | None
) -> None:
    """Write probability maps as planes of uint8 = round(255 p), atomically; see `write_tiff`.

    Coarser levels are means.
    """

    def plane(region: Region, output: int) -> np.ndarray:
        return maps.read(region)[output]

    planes = [partial(plane, output=output) for output in range(len(maps.outputs))]
    write_tiff(
        path, planes, maps.shape, np.dtype(np.uint8), mean_of_four, pool, most,
        pixel_size=pixel_size, names=maps.outputs,
    )  # fmt: skip


def write_label_zarr(
    path: Path,
    labels: Field,
    pool: Executor,
    most: int,
    pixel_size: float | None,
    version: ZarrVersion = "0.5",
    names: tuple[str, ...] = (),
) -> None:
    """Write labels as an OME-Zarr image with ``image-label`` metadata and a pyramid, atomically.

    int32, chunks of 1024 px; each level takes every second pixel of the one before. ``names`` are
    what the numbers stand for, from 0, where these are classes.
    """
    import zarr

    with atomic_folder(path) as temporary:
        zarr_format = 2 if version == "0.4" else 3
        group = zarr.open_group(str(temporary), mode="w", zarr_format=zarr_format)
        shapes = level_shapes(labels.shape)
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

            for _ in in_order(pool, fill, regions(shape, _CHUNK), most):
                pass
        group.attrs.update(_ome_attributes(path.name, len(shapes), pixel_size, version, names))


def _ome_attributes(
    name: str,
    levels: int,
    pixel_size: float | None,
    version: ZarrVersion,
    names: tuple[str, ...],
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
    label: dict[str, Any] = {}
    if names:
        label["properties"] = [{"label-value": n, "class": each} for n, each in enumerate(names)]
    if version == "0.4":
        return {
            "multiscales": [multiscale | {"version": version}],
            "image-label": label | {"version": version},
        }
    ome = {"version": version, "multiscales": [multiscale], "image-label": label}
    return {"ome": ome}
