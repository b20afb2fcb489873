"""Memory that glibc keeps once it is freed: what goes back to the system returns to be cleared.

Large arrays that come again and again cost up to half of the processor time by that.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4  # parameters of mallopt(3)
_NEVER, _USUAL_MMAP_MAX, _MOST = -1, 1 << 16, 32 << 20
"""The last: what glibc by itself raises its threshold to at most, which it no longer does once it
has been told one."""


@contextmanager
def freed_memory_kept(wanted: bool = True) -> Iterator[None]:
    """Have glibc keep what is freed, instead of returning it to the system.

    A training step frees gigabytes of activations and asks for them again, and so does SAM's
    decoder for each handful of prompts; returned memory must be cleared page by page each time,
    which is a fifth of a step, and a fifth to two fifths of a grid. At the end everything is
    returned.

    Args:
        wanted: False where no CPU computes. Nothing happens either where the C library has no
            mallopt(3) (macOS, Windows, musl).
    """
    libc = _glibc() if wanted else None
    if libc is None:
        yield
        return
    libc.mallopt(_MMAP_MAX, 0)
    libc.mallopt(_TRIM_THRESHOLD, _NEVER)
    try:
        yield
    finally:
        libc.mallopt(_MMAP_MAX, _USUAL_MMAP_MAX)
        _raise_thresholds(libc)
        libc.malloc_trim(0)


def keep_large_arrays() -> None:
    """Raise glibc's thresholds to where it raises them by itself, if nobody has told it others."""
    if (libc := _glibc()) is not None:
        _raise_thresholds(libc)


def _raise_thresholds(libc: ctypes.CDLL) -> None:
    libc.mallopt(_MMAP_THRESHOLD, _MOST)
    libc.mallopt(_TRIM_THRESHOLD, 2 * _MOST)


def _glibc() -> ctypes.CDLL | None:
    with suppress(OSError):
        return ctypes.CDLL("libc.so.6")
    return None
