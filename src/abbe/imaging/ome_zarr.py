"""OME-Zarr 0.4 (zarr v2) and 0.5 (zarr v3): the full resolution of a multiscale image."""

import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from abbe.errors import InputError
from abbe.imaging.bounds import check_shape, check_size
from abbe.imaging.image import ArrayPixels, Contents, Levels
from abbe.imaging.layout import check_2d
from abbe.imaging.units import length
from abbe.imaging.zarr_bounds import open_node

VERSIONS = ("0.4", "0.5")
_SPARSEST = 10_000
_METADATA = ("zarr.json", ".zarray", ".zattrs", ".zgroup")


def open_ome_zarr(path: Path) -> Contents:
    """Read the metadata of an OME-Zarr image; chunks are read when a region touches them.

    A chunk that is not there is zeros, as zarr says. The scale is a pixel size only where its
    axes have a unit of length. The one image of a bioformats2raw container is opened.
    """
    path, metadata = _image_in(path)
    if "plate" in metadata or "well" in metadata:
        raise InputError(
            f"{path}: it is a plate or a well, not an image. Name a field of view, such as A/1/0."
        )
    multiscale = _multiscale(path, metadata)
    level = multiscale["datasets"][0]
    array = _array(path, level["path"])
    axes = "".join(_letter(axis) for axis in multiscale["axes"])
    if len(axes) != array.ndim:
        raise InputError(f"{path}: {array.ndim} dimensions, but {len(axes)} axes in its metadata.")
    check_2d(axes, array.shape, str(path))
    size = dict(zip(axes, array.shape, strict=True))
    check_shape((size["Y"], size["X"]), str(path))
    check_size(math.prod(array.chunks) * np.dtype(array.dtype).itemsize, str(path))
    return Contents(
        shape=(size["Y"], size["X"]),
        channel_count=size.get("C", 1),
        dtype=np.dtype(array.dtype),
        load=partial(_load, path, str(level["path"]), axes),
        channels=_labels(metadata),
        pixel_size=_pixel_size(multiscale, level, axes),
        coarser=partial(coarser_levels, path),
        empty=not _stores_chunks(path / str(level["path"]), array, str(path)),
    )


def coarser_levels(path: Path) -> Levels:
    """Shape (H, W) and loader of each level below the finest."""
    path, metadata = _image_in(path)
    multiscale = _multiscale(path, metadata)
    axes = "".join(_letter(axis) for axis in multiscale["axes"])
    found = []
    for level in multiscale["datasets"][1:]:
        array = _array(path, level["path"])
        if not _stores_chunks(path / str(level["path"]), array, str(path)):
            raise InputError(
                f"{path}: none of the pixels of the level '{level['path']}' is stored, so that all "
                "would be 0. Copy or export it again."
            )
        size = dict(zip(axes, array.shape, strict=True))
        found.append(((size["Y"], size["X"]), partial(_load, path, str(level["path"]), axes)))
    return found


def _image_in(path: Path) -> tuple[Path, Mapping[str, Any]]:
    """The group of the image, which may lie in a bioformats2raw container, and its metadata."""
    group = _group(path)
    metadata = _metadata(group)
    if "multiscales" in metadata or "bioformats2raw.layout" not in metadata:
        return path, metadata
    images = sorted(name for name, _ in group.groups() if name != "OME")
    if len(images) != 1:
        raise InputError(f"{path}: it holds {len(images)} images: {', '.join(images)}. Name one.")
    return _image_in(path / images[0])


def _group(path: Path) -> zarr.Group:
    node = open_node(str(path))
    if not isinstance(node, zarr.Group):
        raise InputError(
            f"{path}: it is a plain zarr array without names of axes. "
            f"Give the folder of an OME-Zarr image (version {' or '.join(VERSIONS)})."
        )
    return node


def _array(path: Path, level: str) -> zarr.Array[Any]:
    node = open_node(str(path), level)
    if not isinstance(node, zarr.Array):
        raise InputError(f"{path}: '{level}' should be an array of pixels, but is a group.")
    return node


def _stores_chunks(folder: Path, array: zarr.Array[Any], source: str) -> bool:
    """Whether one of the first files in the array's folder has the name of one of its chunks.

    Chunks that are not there are read as zeros, so that a wrong word in the metadata could turn
    the whole image into zeros, and a wrong number make an image of zeros that takes days.

    Raises:
        InputError: Chunks are there, but fewer than one of `_SPARSEST`.
    """
    sides = zip(array.shape, array.shards or array.chunks, strict=True)
    all_chunks = math.prod(-(-side // chunk) for side, chunk in sides)
    wanted = max(1, all_chunks // _SPARSEST)
    files = (file for file in _files_in(folder) if file.name not in _METADATA)
    chunks = (_is_chunk(file.relative_to(folder).as_posix(), array) for file in files)
    found = sum(islice((each for each in islice(chunks, 100 + 2 * wanted) if each), wanted))
    if 0 < found < wanted:
        raise InputError(
            f"{source}: only {found:,} of its {all_chunks:,} chunks are stored, and all others "
            "would be 0: its shape is wrong, or it was hardly written. Copy or export it again."
        )
    return found > 0


def _is_chunk(key: str, array: zarr.Array[Any]) -> bool:
    numbers = tuple(int(number) for number in re.findall(r"\d+", key))[-array.ndim :]
    return len(numbers) == array.ndim and array.metadata.encode_chunk_key(numbers) == key


def _files_in(folder: Path) -> Iterator[Path]:
    """All files below a folder, without listing the whole of it: it may have millions."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):  # a link may lead back here
                yield from _files_in(Path(entry.path))
            else:
                yield Path(entry.path)


def _load(path: Path, level: str, axes: str) -> ArrayPixels:
    return ArrayPixels(_array(path, level), axes)


def _metadata(group: zarr.Group) -> Mapping[str, Any]:
    attributes = group.attrs.asdict()
    ome = attributes.get("ome")
    return ome if isinstance(ome, Mapping) else attributes


def _multiscale(path: Path, metadata: Mapping[str, Any]) -> Mapping[str, Any]:
    multiscales = metadata.get("multiscales")
    if not multiscales:
        raise InputError(
            f"{path}: it is a zarr group without 'multiscales', so not an OME-Zarr image. "
            "If it is a folder of images, name one of them."
        )
    version = str(metadata.get("version") or multiscales[0].get("version"))
    if not version.startswith(VERSIONS):
        raise InputError(
            f"{path}: OME-Zarr version {version} is not supported; {' and '.join(VERSIONS)} are. "
            "Convert it with a current tool."
        )
    return multiscales[0]


def _letter(axis: Mapping[str, Any]) -> str:
    return "C" if axis.get("type") == "channel" else str(axis["name"])[:1].upper()


def _labels(metadata: Mapping[str, Any]) -> tuple[str, ...] | None:
    channels: Sequence[Mapping[str, Any]] = metadata.get("omero", {}).get("channels", ())
    return tuple(str(channel.get("label") or "") for channel in channels) or None


def _pixel_size(
    multiscale: Mapping[str, Any], level: Mapping[str, Any], axes: str
) -> tuple[float, float] | None:
    """(vertical, horizontal) in µm: the scale of the level times that of the whole image."""
    sides = []
    for letter in "YX":
        at = axes.index(letter)
        value = _scale(level, at) * _scale(multiscale, at)
        sides.append(length(value, multiscale["axes"][at].get("unit")))
    return None if None in sides else (sides[0], sides[1])


def _scale(node: Mapping[str, Any], at: int) -> float:
    for transformation in node.get("coordinateTransformations", ()):
        if transformation.get("type") == "scale":
            return float(transformation["scale"][at])
    return 1.0
