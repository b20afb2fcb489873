"""Memory that torch frees on a CPU is kept for what it computes next."""

import contextlib
import ctypes
from collections.abc import Iterator

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # parameters of mallopt(3)
_NEVER, _USUAL_TRIM_THRESHOLD, _USUAL_MMAP_MAX = -1, 128 << 10, 1 << 16


@contextlib.contextmanager
def freed_memory_kept(wanted: bool = True) -> Iterator[None]:
    """Have glibc keep what is freed, instead of returning it to the system.

    A training step frees gigabytes of activations and asks for them again, and so does SAM's
    decoder for each handful of prompts; returned memory must be cleared page by page each time,
    which is a fifth of a step and half of the decoder's time. At the end everything is returned.

    Args:
        wanted: False where no CPU computes. Nothing happens either where the C library has no
            mallopt(3) (macOS, Windows, musl).
    """
    libc = None
    if wanted:
        with contextlib.suppress(OSError):
            libc = ctypes.CDLL("libc.so.6")
    if libc is None:
        yield
        return
    libc.mallopt(_MMAP_MAX, 0)
    libc.mallopt(_TRIM_THRESHOLD, _NEVER)
    try:
        yield
    finally:
        libc.mallopt(_MMAP_MAX, _USUAL_MMAP_MAX)
        libc.mallopt(_TRIM_THRESHOLD, _USUAL_TRIM_THRESHOLD)
        libc.malloc_trim(0)
