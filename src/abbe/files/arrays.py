"""Files of named arrays that others may have damaged."""

import struct
import tokenize
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

LARGEST = 2**30
"""Bytes that the arrays of a file may come to."""
_DAMAGE = (
    EOFError, NotImplementedError, OverflowError, RuntimeError, SyntaxError, struct.error,
    tokenize.TokenError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip
"""What NumPy and zipfile raise of bytes that make no sense to them, beside ValueError."""


def read_arrays(path: Path, largest: int = LARGEST) -> dict[str, NDArray[Any]]:
    """All arrays of an npz file by name; nothing pickled is read.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is damaged, no npz file, or holds more than ``largest`` bytes.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(member.file_size for member in archive.infolist())
        if size > largest:
            raise ValueError(f"it unpacks to {size:,} bytes, and {largest:,} are the most")
        with np.load(path, allow_pickle=False) as archive:
            arrays = dict(archive)
    except _DAMAGE as error:
        raise ValueError(str(error) or "it ends too early") from error
    for name, array in arrays.items():
        if not isinstance(array, np.ndarray):
            raise ValueError(f"'{name}' is no array")
    return arrays
