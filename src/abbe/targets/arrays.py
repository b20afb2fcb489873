"""Arrays of maps: plain zarr v3, one chunk a map, read and written without zarr's event loop.

zarr-python needs about 2 ms to read a map of 512x512 px and 12 ms to add one to a shard
(``benchmarks/targets.py`` measures both); opening the file and calling zstd takes a fifth of that,
works after a fork, and tells a map that is missing from one that is zero. zarr reads what this
writes, and this reads what zarr writes, as long as a chunk is one map, plain or in a shard,
compressed with zstd or not at all.
"""

import math
import os
from pathlib import Path
from typing import Any, Literal

import numpy as np

from abbe.errors import StoreError
from abbe.files import parse_json, write_json
from abbe.remote import RemotePath, as_remote
from abbe.targets import shards
from abbe.targets.kinds import KINDS, LARGEST

# A shard is written anew for each map added to it, so it is kept to what a disk takes in a moment.
_SHARD_BYTES = 8 << 20
_SHARD_MAPS = 32
_AGAIN = "the store is damaged or was copied in part: copy it again, or teach into a new store"
_INDEX_CODECS = [
    {"name": "bytes", "configuration": {"endian": "little"}},
    {"name": "crc32c"},
]


class MapArray:
    """Reads single maps of one array; picklable, and safe to use after a fork.

    Attributes:
        dtype: of the stored numbers.
        map_shape: of one map.
    """

    def __init__(self, root: Path, name: str) -> None:
        self._folder = root / name
        layout = _Layout(read_node(self._folder, "array"), self._folder)
        self.dtype, self.map_shape = layout.dtype, layout.map_shape
        self._layout = layout
        self._indexes: dict[int, tuple[tuple[int, ...], np.ndarray]] = {}

    def read(self, row: int) -> np.ndarray:
        """One map, as stored.

        Raises:
            StoreError: naming the file that is missing, cut short or damaged.
        """
        path = _chunk_path(self._folder, row // self._layout.slots, self._layout)
        values = np.empty(self.map_shape, self.dtype)
        try:
            frame = self._frame(path, row)
            if self._layout.compressed:
                shards.decompress(frame, values)
            elif len(frame) == values.nbytes:
                values = np.frombuffer(frame, self.dtype).reshape(self.map_shape).copy()
            else:
                raise StoreError(f"does not hold {values.nbytes} bytes")
        except FileNotFoundError:
            raise StoreError(f"{path}: missing; {_AGAIN}") from None
        except StoreError as error:
            raise StoreError(f"{path}: row {row} {error}; {_AGAIN}") from None
        return values

    def _frame(self, path: str | RemotePath, row: int) -> bytes:
        if isinstance(path, RemotePath):
            return self._remote_frame(path, row)
        with open(path, "rb") as file:
            if self._layout.index_location is None:
                return file.read()
            status = os.fstat(file.fileno())
            # A writer replaces a shard as it grows; these change with it.
            version = (status.st_ino, status.st_size, status.st_mtime_ns)
            shard, slot = divmod(row, self._layout.slots)
            known = self._indexes.get(shard)
            if known is None or known[0] != version:
                index = shards.read_index(file, self._layout.slots, self._layout.index_location)
                self._indexes[shard] = known = (version, index)
            offset, length = _place(known[1], slot)
            if offset + length > status.st_size:
                raise StoreError("is cut short")
            file.seek(offset)
            return file.read(length)

    def _remote_frame(self, path: RemotePath, row: int) -> bytes:
        """The same of a shard behind a URL, of which no more is read than its index and the map.

        An index that is known stays: shards grow, and what they held keeps its place.
        """
        if self._layout.index_location is None:
            return path.read_bytes()
        shard, slot = divmod(row, self._layout.slots)
        known = self._indexes.get(shard)
        if known is None or known[1][slot][0] == shards.ABSENT:
            with path.opened() as file:
                index = shards.read_index(file, self._layout.slots, self._layout.index_location)
            self._indexes[shard] = known = ((), index)
        offset, length = _place(known[1], slot)
        (frame,) = path.ranges([(offset, length)])
        if len(frame) < length:
            raise StoreError("is cut short")
        return frame


def _place(index: np.ndarray, slot: int) -> tuple[int, int]:
    offset, length = (int(number) for number in index[slot])
    if offset == shards.ABSENT:
        raise StoreError("was never written")
    return offset, length


class GrowingArray:
    """Adds maps to the end of one array of a store; one writer at a time.

    Args:
        root: the store's folder.
        name: the array's path in it; made if it is not there.
        kind: of map.
        map_shape: of one map.
        rows: how many maps the store's index names; what lies behind them is overwritten.
    """

    def __init__(
        self, root: Path, name: str, kind: str, map_shape: tuple[int, ...], rows: int
    ) -> None:
        self._folder = root / name
        self._kind, self._map_shape = kind, map_shape
        self.rows = rows
        self._slots = _maps_per_shard(kind, map_shape)
        self._capacity = 0
        metadata_file = self._folder / "zarr.json"
        if metadata_file.exists():
            found = read_node(self._folder, "array")
            self._capacity = found["shape"][0]
            if found != _metadata(kind, map_shape, self._slots, self._capacity):
                raise StoreError(
                    f"{metadata_file}: another program made this array with another layout, and "
                    "Abbe does not append to it; teach into a new store"
                )

    def append(self, frames: list[bytes]) -> None:
        """Add compressed maps; when this returns they are on the disk.

        Raises:
            OSError: the disk is full or the folder unwritable; earlier maps are untouched.
            StoreError: the maps to add to are damaged.
        """
        needed = math.ceil((self.rows + len(frames)) / self._slots) * self._slots
        if needed > self._capacity:
            write_group(self._folder.parent)
            write_json(
                self._folder / "zarr.json",
                _metadata(self._kind, self._map_shape, self._slots, needed),
            )
            self._capacity = needed
        while frames:
            shard, kept = divmod(self.rows, self._slots)
            now, frames = frames[: self._slots - kept], frames[self._slots - kept :]
            name = ".".join(["c", str(shard)] + ["0"] * len(self._map_shape))
            try:
                shards.extend(self._folder / name, self._slots, kept, now)
            except StoreError as error:
                raise StoreError(f"{self._folder / name}: {error}; {_AGAIN}") from None
            self.rows += len(now)


def read_node(folder: Path, node_type: Literal["group", "array"]) -> dict[str, Any]:
    """The metadata of a zarr v3 group or array.

    Raises:
        StoreError: ``zarr.json`` is missing, damaged or says something else.
    """
    file = folder / "zarr.json"
    try:
        metadata = parse_json(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise StoreError(f"{file}: missing; {_AGAIN}") from None
    except ValueError as error:
        raise StoreError(f"{file}: damaged ({error}); {_AGAIN}") from None
    if not isinstance(metadata, dict) or metadata.get("zarr_format") != 3:
        raise StoreError(f"{file}: not zarr v3")
    if metadata.get("node_type") != node_type:
        raise StoreError(f"{file}: a zarr {metadata.get('node_type')}, expected {node_type}")
    return metadata


class _Layout:
    """What an array's metadata says, or a StoreError for what Abbe does not read."""

    def __init__(self, metadata: dict[str, Any], folder: Path) -> None:
        where = folder / "zarr.json"
        try:
            self.map_shape = tuple(int(length) for length in metadata["shape"][1:])
            stored = np.dtype(metadata["data_type"])
            chunk = metadata["chunk_grid"]["configuration"]["chunk_shape"]
            one_map, codecs, self.index_location = chunk, metadata["codecs"], None
            if codecs[0]["name"] == "sharding_indexed":
                sharding = codecs[0]["configuration"]
                self.index_location = sharding.get("index_location", "end")
                if [codec["name"] for codec in sharding["index_codecs"]] != ["bytes", "crc32c"]:
                    raise StoreError(f"{where}: a shard's index must be plain with crc32c")
                one_map, codecs = sharding["chunk_shape"], codecs[1:] + sharding["codecs"]
            self.slots = int(chunk[0])
            endian = codecs[0].get("configuration", {}).get("endian", "little")
            names = [codec["name"] for codec in codecs]
            keys = metadata["chunk_key_encoding"]
            self.separator = keys.get("configuration", {}).get("separator", "/")
            plain_keys = keys["name"] == "default" and self.separator in ("/", ".")
        except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
            raise StoreError(f"{where}: not the metadata of a zarr v3 array ({error!r})") from None
        expected = [1, *self.map_shape]
        if list(one_map) != expected or list(chunk) != [self.slots, *expected[1:]]:
            raise StoreError(f"{where}: a chunk must be one map, {expected}, not {one_map}")
        if not 0 < math.prod(self.map_shape) * stored.itemsize <= LARGEST or self.slots < 1:
            raise StoreError(f"{where}: maps of {self.map_shape} cannot be")
        if names not in (["bytes"], ["bytes", "zstd"]):
            raise StoreError(
                f"{where}: codecs {', '.join(names)}; Abbe reads uncompressed or zstd maps"
            )
        if not plain_keys or (stored.itemsize > 1 and endian != "little"):
            raise StoreError(f"{where}: chunk keys must be 'default' and numbers little-endian")
        self.compressed = len(names) == 2
        self.dtype = stored.newbyteorder("<")


def _chunk_path(folder: Path, number: int, layout: _Layout) -> str | RemotePath:
    indices = ["c", str(number)] + ["0"] * len(layout.map_shape)
    if (remote := as_remote(folder)) is not None:
        return remote / layout.separator.join(indices)
    return os.path.join(folder, layout.separator.join(indices))  # a fifth of the cost of Path


def _maps_per_shard(kind: str, map_shape: tuple[int, ...]) -> int:
    map_bytes = math.prod(map_shape) * np.dtype(KINDS[kind].dtype).itemsize
    return max(1, min(_SHARD_MAPS, _SHARD_BYTES // map_bytes))


def _metadata(kind: str, map_shape: tuple[int, ...], slots: int, rows: int) -> dict[str, Any]:
    dtype, axes = KINDS[kind]
    plain = np.dtype(dtype).itemsize == 1
    sharding = {
        "chunk_shape": [1, *map_shape],
        "codecs": [
            {"name": "bytes"} if plain else _INDEX_CODECS[0],
            {"name": "zstd", "configuration": {"level": 1, "checksum": True}},
        ],
        "index_codecs": _INDEX_CODECS,
        "index_location": "end",
    }
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": [rows, *map_shape],
        "data_type": dtype,
        "chunk_grid": {
            "name": "regular",
            "configuration": {"chunk_shape": [slots, *map_shape]},
        },
        # With "." all shards of an array lie in one folder.
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "."}},
        "fill_value": 0,
        "codecs": [{"name": "sharding_indexed", "configuration": sharding}],
        "attributes": {},
        "dimension_names": ["image", *axes],
    }


def write_group(folder: Path) -> None:
    """Make a zarr group of a folder that is none yet."""
    file = folder / "zarr.json"
    if not file.exists():
        write_json(file, {"zarr_format": 3, "node_type": "group", "attributes": {}})
