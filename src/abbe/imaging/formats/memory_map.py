"""Memory maps of .npy files, opened by any number of threads."""

from pathlib import Path
from threading import Lock

import numpy as np
from numpy.typing import NDArray

ONE_HEADER = Lock()
"""Held while a header is read. NumPy reads headers by Python's parser, which in CPython 3.11 counts
its depth for all threads together: where one is interrupted in it, both fail with SystemError."""


def memory_map(path: Path) -> NDArray[np.generic]:
    """The array of an .npy file, read-only; its pixels are read when they are looked at.

    Raises:
        OSError, ValueError, EOFError: The file is missing, cut short, or no array of plain values.
    """
    # A shape beyond all sizes is refused, and not warned of.
    with ONE_HEADER, np.errstate(over="ignore"):
        return np.load(path, mmap_mode="r", allow_pickle=False)
