"""The stack on which a thread's signals are handled, kept as it was while OpenVINO is loaded.

OpenVINO's processor plugin (2026.4, on Linux) gives the thread that loads it a stack for signals of
its own, and frees it with the ``Core``. The stack from before is put back only if its own is still
in place: of two cores, the one that goes first leaves its freed stack for the other to put back.
Python handles signals there, so that the next Ctrl+C would end the process without a word.
"""

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


class _Stack(ctypes.Structure):
    """``stack_t`` of sigaltstack(2)."""

    _fields_ = (("start", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t))


@contextmanager
def signal_stack_kept() -> Iterator[None]:
    """Put back the calling thread's stack at the end; nothing happens but on Linux."""
    if sys.platform != "linux":
        yield
        return
    before = _exchange(None)
    try:
        yield
    finally:
        _exchange(before)


def signal_stack() -> int | None:
    """Where the calling thread's stack for signals lies; None where they have none of their own."""
    return _exchange(None).start if sys.platform == "linux" else None


def _exchange(new: _Stack | None) -> _Stack:
    """The stack there is, and ``new`` in its place unless that is None."""
    libc, old = ctypes.CDLL(None, use_errno=True), _Stack()
    if libc.sigaltstack(None if new is None else ctypes.byref(new), ctypes.byref(old)):
        code = ctypes.get_errno()
        raise OSError(code, f"sigaltstack: {os.strerror(code)}")
    return old
