"""What has been computed of an image, kept in memory or a hidden folder until results are written.

The folder makes an interrupted run go on where it was: each array lands in one step under its
name, or not at all. A file that a power cut left short is taken for missing.
"""

import os
import shutil
import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy_format

from abbe.errors import InputError
from abbe.files import full_disk_named, parse_json, part_beside, write_json
from abbe.imaging.formats.memory_map import memory_map

_JOB = "job.json"


class Work:
    """Arrays by name, for one image; several threads may use it at once.

    Attributes:
        folder: Where they lie, or None for in memory.
        found: Whether an earlier run of the same job had left something here.
    """

    def __init__(self, folder: Path | None, job: dict[str, Any] | None = None) -> None:
        """Open the folder, and empty it if it belongs to another job."""
        self.folder = folder
        self.found = False
        self._arrays: dict[str, np.ndarray | bytes] = {}
        if folder is None:
            return
        if folder.exists():
            self.found = _read_job(folder) == job
            if not self.found:
                shutil.rmtree(folder)
        folder.mkdir(parents=True, exist_ok=True)
        if not self.found:
            write_json(folder / _JOB, job)

    def put(self, name: str, array: np.ndarray, *, compress: bool) -> None:
        """Keep an array; compressed ones cost time to read, others are read in part."""
        if self.folder is None and not compress:
            self._arrays[name] = array
            return
        data: bytes | memoryview | None = _encode(array) if compress else None
        if self.folder is None:
            assert isinstance(data, bytes)
            self._arrays[name] = data
            return
        path = self._path(name, compress)
        temporary = part_beside(path)
        try:
            with full_disk_named(path), open(temporary, "wb") as file:
                if data is None:
                    # np.save would write behind Python's back: of a full disk it says but that
                    # too little was written.
                    array = np.ascontiguousarray(array)
                    header = npy_format.header_data_from_array_1_0(array)
                    npy_format.write_array_header_1_0(file, header)
                    data = array.data
                file.write(data)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)

    def get(self, name: str, *, compressed: bool) -> np.ndarray:
        """An array that was put; an uncompressed one is a memory map."""
        array = self._read(name, compressed)
        if array is None:
            raise InputError(
                f"{self.folder}: '{name}' is missing or damaged. If no other process works on this "
                "image, remove this hidden folder and start again"
            )
        return array

    def has(self, name: str, *, compressed: bool) -> bool:
        """Whether the array is there, whole."""
        return self._read(name, compressed) is not None

    def drop(self, name: str, *, compressed: bool) -> None:
        """Forget an array, if it is there."""
        self._arrays.pop(name, None)
        if self.folder is not None:
            self._path(name, compressed).unlink(missing_ok=True)

    def remove(self) -> None:
        """Forget everything: the results are written."""
        self._arrays.clear()
        if self.folder is not None:
            shutil.rmtree(self.folder)

    def _read(self, name: str, compressed: bool) -> np.ndarray | None:
        if self.folder is None:
            kept = self._arrays.get(name)
            return _decode(kept) if isinstance(kept, bytes) else kept
        path = self._path(name, compressed)
        try:
            if compressed:
                return _decode(path.read_bytes())
            return memory_map(path)
        except FileNotFoundError:
            return None
        except (ValueError, EOFError):
            path.unlink()  # left short by a power cut
            return None

    def _path(self, name: str, compressed: bool) -> Path:
        assert self.folder is not None
        return self.folder / f"{name}.{'zst' if compressed else 'npy'}"


def _read_job(folder: Path) -> Any:
    try:
        return parse_json((folder / _JOB).read_text("utf-8"))
    except (OSError, ValueError):
        return None


def _encode(array: np.ndarray) -> bytes:
    import imagecodecs

    header = struct.pack("<2sB", array.dtype.str[1:].encode(), array.ndim)
    shape = struct.pack(f"<{array.ndim}Q", *array.shape)
    return header + shape + imagecodecs.zstd_encode(array.tobytes(), level=1)


def _decode(data: bytes) -> np.ndarray:
    """The array.

    Raises:
        ValueError: The data is damaged.
    """
    import imagecodecs

    try:
        kind, dimensions = struct.unpack_from("<2sB", data)
        shape = struct.unpack_from(f"<{dimensions}Q", data, 3)
        payload = imagecodecs.zstd_decode(data[3 + 8 * dimensions :])
    except (struct.error, imagecodecs.ZstdError) as error:
        raise ValueError(str(error)) from error
    return np.frombuffer(payload, np.dtype("<" + kind.decode())).reshape(shape)
