"""OME-Zarr 0.4 (zarr v2) and 0.5 (zarr v3): the full resolution of a multiscale image."""

import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, cast

import numpy as np
import zarr

from abbe.errors import InputError
from abbe.imaging.bounds import check_shape, check_size
from abbe.imaging.formats.zarr_bounds import open_node
from abbe.imaging.image import ArrayPixels, Contents, Levels
from abbe.imaging.layout import check_2d
from abbe.imaging.units import length
from abbe.remote import RemotePath, as_remote
from abbe.remote.alike import is_web

VERSIONS = ("0.4", "0.5")
_SPARSEST = 10_000
_LOOKED_AT = 9  # chunks behind a URL
_METADATA = ("zarr.json", ".zarray", ".zattrs", ".zgroup")


def open_ome_zarr(path: Path) -> Contents:
    """Read the metadata of an OME-Zarr image; chunks are read when a region touches them.

    A chunk that is not there has the array's fill value, as zarr says; where none is there, so has
    the whole image, and a note says so. The scale is a pixel size only where its
    axes have a unit of length. The one image of a bioformats2raw container is opened.
    """
    path, metadata = _image_in(path)
    if "plate" in metadata or "well" in metadata:
        raise InputError(
            f"{path}: it is a plate or a well, not an image. Name a field of view, such as A/1/0 "
            "(abbe predict takes a whole plate, too)."
        )
    multiscale = _multiscale(path, metadata)
    level = multiscale["datasets"][0]
    array = _array(path, level["path"])
    axes = _axes(multiscale)
    if len(axes) != array.ndim:
        raise InputError(f"{path}: {array.ndim} dimensions, but {len(axes)} axes in its metadata.")
    check_2d(axes, array.shape, str(path))
    size = dict(zip(axes, array.shape, strict=True))
    check_shape((size["Y"], size["X"]), str(path))
    check_size(math.prod(array.chunks) * np.dtype(array.dtype).itemsize, str(path))
    stored = _stores_chunks(path, str(level["path"]), array)
    return Contents(
        shape=(size["Y"], size["X"]),
        channel_count=size.get("C", 1),
        dtype=np.dtype(array.dtype),
        load=partial(_load, path, str(level["path"]), axes),
        channels=_labels(metadata),
        pixel_size=_pixel_size(multiscale, level, axes),
        coarser=partial(coarser_levels, path),
        notes=() if stored else (_nothing_stored(array),),
    )


def coarser_levels(path: Path) -> Levels:
    """Shape (H, W) and loader of each level below the finest."""
    path, metadata = _image_in(path)
    multiscale = _multiscale(path, metadata)
    axes = _axes(multiscale)
    finest = str(multiscale["datasets"][0]["path"])
    stored = _stores_chunks(path, finest, _array(path, finest))
    found = []
    for level in multiscale["datasets"][1:]:
        array = _array(path, level["path"])
        if _stores_chunks(path, str(level["path"]), array) < stored:
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
    node = open_node(path)
    if not isinstance(node, zarr.Group):
        raise InputError(
            f"{path}: it is a plain zarr array without names of axes. "
            f"Give the folder of an OME-Zarr image (version {' or '.join(VERSIONS)})."
        )
    return node


def _array(path: Path, level: str) -> zarr.Array[Any]:
    node = open_node(path, level)
    if not isinstance(node, zarr.Array):
        raise InputError(f"{path}: '{level}' should be an array of pixels, but is a group.")
    return node


def _stores_chunks(path: Path, level: str, array: zarr.Array[Any]) -> bool:
    """Whether chunks are stored: files in the array's folder have their names.

    Writers leave out chunks that hold nothing but the fill value, and all of them where the image
    is empty. But a wrong word in the metadata would turn stored chunks into zeros, and a wrong
    number make an image of zeros that takes days.

    Raises:
        InputError: Chunks are there, but fewer than one of `_SPARSEST`; none is, of more than so
            many; there are files, but none has the name of a chunk.
    """
    if as_remote(path) is not None and _some_chunk_is_there(path / level, array):
        return True
    sides = zip(array.shape, array.shards or array.chunks, strict=True)
    all_chunks = math.prod(-(-side // chunk) for side, chunk in sides)
    wanted = max(1, all_chunks // _SPARSEST)
    folder = path / level
    if is_web(path):  # which lists no folder
        return False
    files = (file for file in _files_in(folder) if file.name not in _METADATA)
    keys = [file.relative_to(folder).as_posix() for file in islice(files, 100 + 2 * wanted)]
    found = sum(islice((True for key in keys if _is_chunk(key, array)), wanted))
    if found < wanted and (found or all_chunks > _SPARSEST):
        raise InputError(
            f"{path}: only {found:,} of its {all_chunks:,} chunks are stored, and all others "
            "would be 0: its shape is wrong, or it was hardly written. Copy or export it again."
        )
    if keys and not found:
        expected = array.metadata.encode_chunk_key((0,) * array.ndim)
        raise InputError(
            f"{path}: by its metadata, the pixels of '{level}' lie in files such as '{expected}', "
            f"but there are others, such as '{keys[0]}': all pixels would be read as 0. Its "
            "metadata is wrong; export the image again."
        )
    return found > 0


def _some_chunk_is_there(folder: Path, array: zarr.Array[Any]) -> bool:
    """Whether one of a few chunks is stored, the middle one among them: no bucket is listed."""
    counts = [-(-side // chunk) for side, chunk in
              zip(array.shape, array.shards or array.chunks, strict=True)]  # fmt: skip
    spread = np.linspace(0, 1, _LOOKED_AT)
    places = {tuple(int(share * (count - 1)) for count in counts) for share in (0.5, *spread)}
    keys = (array.metadata.encode_chunk_key(place) for place in sorted(places))
    return any(cast(RemotePath, folder / key).is_readable() for key in keys)


def _is_chunk(key: str, array: zarr.Array[Any]) -> bool:
    numbers = tuple(int(number) for number in re.findall(r"\d+", key))[-array.ndim :]
    return len(numbers) == array.ndim and array.metadata.encode_chunk_key(numbers) == key


def _nothing_stored(array: zarr.Array[Any]) -> str:
    value = array.fill_value
    return (
        f"None of its pixels is stored, which says that all are {0 if value is None else value}: "
        "there is nothing in the image, or it was never written."
    )


def _files_in(folder: Path) -> Iterator[Path]:
    """All files below a folder, without listing the whole of it: it may have millions."""
    if (remote := as_remote(folder)) is not None:
        yield from cast(Iterator[Path], remote.below())
        return
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
    multiscale = multiscales[0]
    version = metadata.get("version") or multiscale.get("version")
    # Version 0.4 recommends to state itself, and 0.5 demands it; only 0.5 lies in zarr v3.
    if version is None and not (path / "zarr.json").exists():
        version = "0.4"
    if not str(version).startswith(VERSIONS):
        stated = "without a version" if version is None else f"version {version}"
        raise InputError(
            f"{path}: OME-Zarr {stated} is not supported; {' and '.join(VERSIONS)} are. "
            "Convert it with a current tool."
        )
    if not multiscale.get("axes"):
        raise InputError(
            f"{path}: its metadata has no 'axes', so that it is not known which dimension is "
            'which. Add them, such as [{"name": "y", "type": "space"}, …], or export it again.'
        )
    levels = multiscale.get("datasets")
    if not levels or not all(isinstance(each, Mapping) and "path" in each for each in levels):
        raise InputError(
            f"{path}: its metadata has no 'datasets' that name the arrays of pixels by 'path'. "
            "Export it again."
        )
    return multiscale


def _axes(multiscale: Mapping[str, Any]) -> str:
    return "".join(_letter(axis) for axis in multiscale["axes"])


def _letter(axis: Mapping[str, Any] | str) -> str:
    """Y, X, C, …; names alone, as versions before 0.4 wrote them, say enough."""
    if isinstance(axis, str):
        return axis[:1].upper()
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
        axis = multiscale["axes"][at]
        sides.append(length(value, None if isinstance(axis, str) else axis.get("unit")))
    return None if None in sides else (sides[0], sides[1])


def _scale(node: Mapping[str, Any], at: int) -> float:
    for transformation in node.get("coordinateTransformations", ()):
        if transformation.get("type") == "scale":
            return float(transformation["scale"][at])
    return 1.0
