"""A file-like object whose reads are requests for ranges of bytes."""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from abbe.remote.paths import RemotePath


class RangeReader(io.RawIOBase):
    """Reads from an object what is asked for, and no more."""

    def __init__(self, path: RemotePath) -> None:
        self._path, self._size, self._at = path, path.stat().st_size, 0
        self.name = str(path)  # tifffile names it

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def tell(self) -> int:
        """Where the next read begins."""
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go somewhere."""
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        self._at = max(0, start + offset)
        return self._at

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        """Fill a buffer."""
        count = min(len(buffer), self._size - self._at)
        if count <= 0:
            return 0
        (data,) = self._path.ranges([(self._at, count)])
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)
