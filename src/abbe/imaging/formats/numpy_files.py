"""npy, read through a memory map, and npz, decoded whole."""

import math
import zipfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.lib import format as npy_format

from abbe.errors import InputError
from abbe.imaging.bounds import check_growth, check_size
from abbe.imaging.formats.memory_map import ONE_HEADER, memory_map
from abbe.imaging.image import ArrayPixels, Contents
from abbe.imaging.layout import axes_of_array

_HEADERS = {
    (1, 0): npy_format.read_array_header_1_0,
    (2, 0): npy_format.read_array_header_2_0,
}


def open_npy(path: Path, channels: Sequence[str] | None) -> Contents:
    """An npy file of (H, W), (C, H, W) or (H, W, C); see ``layout.axes_of_array``."""
    array = memory_map(path)
    axes = axes_of_array(array.shape, channels, str(path))
    return _contents(array.shape, array.dtype, axes, partial(_map_npy, path, axes))


def open_npz(path: Path, channels: Sequence[str] | None, keys: Sequence[str]) -> Contents:
    """One array of an npz file: the first of ``keys`` that it has, else its only array."""
    with zipfile.ZipFile(path) as archive:
        members = [name for name in archive.namelist() if name.endswith(".npy")]
        key = _choose(path, [name.removesuffix(".npy") for name in members], keys)
        member = archive.getinfo(f"{key}.npy")
        with archive.open(f"{key}.npy") as file:
            version = npy_format.read_magic(cast(Any, file))
            if version not in _HEADERS:
                raise InputError(f"{path}: array '{key}' has an unknown npy version {version}.")
            with ONE_HEADER:
                shape, _, dtype = _HEADERS[version](cast(Any, file))
    if (decoded := math.prod(shape) * dtype.itemsize) > member.file_size:
        raise InputError(
            f"{path}: array '{key}' of shape {shape} should have {decoded:,} bytes, but its "
            f"archive holds {member.file_size:,}: it is damaged. Copy or save it again."
        )
    check_size(decoded, str(path))
    check_growth(decoded, member.compress_size, str(path))
    axes = axes_of_array(shape, channels, f"{path}, array '{key}'")
    return _contents(shape, dtype, axes, partial(_decode_npz, path, key, axes))


def _choose(path: Path, found: Sequence[str], keys: Sequence[str]) -> str:
    if not found:
        raise InputError(f"{path}: the npz holds no array.")
    for key in (*keys, *(found if len(found) == 1 else ())):
        if key in found:
            return key
    raise InputError(
        f"{path}: the npz holds {len(found)} arrays ({', '.join(found)}), and which one is meant "
        f"is not clear. Name it '{keys[0]}', or save it alone."
    )


def _contents(shape: tuple[int, ...], dtype: np.dtype[Any], axes: str, load: partial) -> Contents:
    size = dict(zip(axes, shape, strict=True))
    return Contents((size["Y"], size["X"]), size.get("C", 1), dtype, load)


def _map_npy(path: Path, axes: str) -> ArrayPixels:
    return ArrayPixels(memory_map(path), axes)


def _decode_npz(path: Path, key: str, axes: str) -> ArrayPixels:
    with ONE_HEADER, np.load(path, allow_pickle=False) as archive:
        return ArrayPixels(archive[key], axes)
