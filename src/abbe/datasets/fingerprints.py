"""What tells an image again, in whatever file and under whatever name: digests of its channels.

A list of them says what a network was trained on, without showing any of it.
"""

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from abbe.errors import InputError
from abbe.imaging import Image, Region
from abbe.summary import TRAINED_ON

DIGITS = 16
"""Hexadecimal digits of a digest, 8 bytes: two of a million images are alike by chance once in
40 million lists."""
_BAND = 64 << 20


def channel_digests(image: Image, channels: Sequence[str] | None = None) -> tuple[str, ...]:
    """A digest of each channel that is not one value all over, sorted: of type, shape and pixels.

    Neither the file's format nor names or order of channels matter, and one channel in common is
    seen. Other values are another image: scaled to 8 bits, cut, compressed with loss.

    Args:
        image: read in bands, so that its size does not matter.
        channels: those that count; all where None.

    Raises:
        InputError: a channel is missing, or the file is damaged.
    """
    names = image.channels if channels is None else tuple(channels)
    height, width = image.shape
    rows = max(1, _BAND // (len(names) * width * image.dtype.itemsize))
    header = f"{image.dtype.name} {image.shape}".encode()
    digests = [hashlib.sha256(header) for _ in names]
    first: list[object] = [None] * len(names)
    varied = [False] * len(names)
    for top in range(0, height, rows):
        band = image.read(Region(top, 0, min(top + rows, height), width), names)
        for number, plane in enumerate(band):
            digests[number].update(
                plane.astype(plane.dtype.newbyteorder("<"), copy=False).tobytes()
            )
            first[number] = plane.flat[0] if top == 0 else first[number]
            varied[number] = varied[number] or bool(np.any(plane != first[number]))
    found = zip(digests, varied, strict=True)
    return tuple(sorted({each.hexdigest()[:DIGITS] for each, differs in found if differs}))


def write_digests(path: Path, images: Iterable[Sequence[str]]) -> None:
    """Write a list: an image a line, sorted, so that it says nothing of names or order."""
    from abbe.files import write_text

    lines = sorted({" ".join(each) for each in images if each})
    write_text(path, "".join(f"{line}\n" for line in lines))


def read_digests(path: Path) -> frozenset[str]:
    """All digests of a list.

    Raises:
        InputError: it is no such list.
    """
    try:
        words = path.read_text(encoding="ascii").split()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({error}). Restore it") from error
    for word in words:
        if len(word) != DIGITS or not set(word) <= set("0123456789abcdef"):
            raise InputError(f"{path}: '{word[:40]}' is no digest of an image. Restore the file")
    return frozenset(words)


def trained_on(path: Path) -> frozenset[str] | None:
    """Digests of what a run, a package, a store or a file in one was trained on; None: unknown.

    Raises:
        InputError: the list is damaged.
    """
    if not path.exists():
        return None  # a name, such as that of a module or of weights that are fetched
    file = (path if path.is_dir() else path.parent) / TRAINED_ON
    return read_digests(file) if file.is_file() else None
