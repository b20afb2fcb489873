"""Memory that a worker frees is kept for what it computes next, as in any other process.

Dask has its workers give memory back at once (``MALLOC_TRIM_THRESHOLD_``), which keeps glibc from
learning that large arrays come again and again: each then is mapped and cleared anew. Tiles took
up to half as much processor time again by that.
"""

from __future__ import annotations

import ctypes
import sys
from typing import Any

from distributed.diagnostics.plugin import WorkerPlugin

_TRIM, _MAP = -1, -3
"""M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of glibc's malloc.h."""
_MOST = 32 << 20
"""Bytes; what glibc itself raises its threshold to at most, where it may learn."""


class KeepsMemory(WorkerPlugin):
    """A worker whose arrays up to `_MOST` bytes come from memory that it has."""

    name = "abbe-memory"
    idempotent = True

    def setup(self, worker: Any) -> None:
        """Tell glibc; other C libraries are not told otherwise by dask."""
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
        if mallopt is not None:
            mallopt(_MAP, _MOST)
            mallopt(_TRIM, 2 * _MOST)
