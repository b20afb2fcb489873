"""Limits on the size of images: against the bytes in a file, and the memory that is free.

A file of a few bytes can state any size, and compressed data can grow a thousandfold. Every reader
asks here before it believes either.
"""

import os
from pathlib import Path

from abbe.errors import InputError

LARGEST_READ = 4 << 30
"""Bytes that one read or one decoded file may hold: more than any step downstream keeps at once.
Larger images are read region by region."""

LONGEST_SIDE = 1 << 24
"""px: whole slides have some 200,000, and float32 still tells such places apart."""

MOST_PIXELS = 1 << 40
"""Of an image: ten times as many as the largest slides have."""

MOST_CHANNELS = 1 << 16
"""Spectra have thousands; what has more is a damaged header."""

HARMLESS = 256 << 20
"""Bytes up to which anything may grow when it is decoded."""

HIGHEST_RATIO = 200
"""How much more than that may hold than what it is stored in. Images shrink to a half or a tenth,
masks to a hundredth; zlib makes zeros a thousand times smaller."""

_CONVERT = "convert it to a tiled TIFF or to OME-Zarr, which are read by region"


def check_shape(shape: tuple[int, ...], source: str) -> None:
    """Refuse sides (height, width) that no image has.

    Raises:
        InputError: A side is above 16,777,216 px, or there are more than 2⁴⁰ px.
    """
    height, width = (int(side) for side in shape)
    if max(height, width) > LONGEST_SIDE or height * width > MOST_PIXELS or min(height, width) < 0:
        raise InputError(
            f"{source}: it should have {_number(height)} × {_number(width)} px, which no image has "
            f"(at most {LONGEST_SIDE:,} a side and {MOST_PIXELS:,} in all): its header is damaged. "
            "Copy or export it again."
        )


def check_size(size: int, source: str) -> None:
    """Refuse to decode more than `LARGEST_READ` bytes at once, or than there is memory for.

    Raises:
        InputError: It is more.
    """
    if size > LARGEST_READ:
        raise InputError(
            f"{source}: {_gib(size)} would have to be decoded at once; the limit is "
            f"{LARGEST_READ >> 30} GiB. Read it by region; if the file does not allow that, "
            f"{_CONVERT}."
        )
    if size > HARMLESS and (free := free_memory()) is not None and size > free:
        raise InputError(
            f"{source}: {_gib(size)} would have to be decoded at once, and {_gib(free)} of memory "
            f"are free. Close other programs, or {_CONVERT}."
        )


def check_growth(size: int, stored: int, source: str) -> None:
    """Refuse to decode what would be much larger than it is stored.

    Args:
        size: Bytes once decoded.
        stored: Bytes that it is decoded from.
        source: The file, for the message.

    Raises:
        InputError: More than `HARMLESS`, and more than `HIGHEST_RATIO` times ``stored``.
    """
    if size > HARMLESS and size > HIGHEST_RATIO * stored:
        raise InputError(
            f"{source}: {stored:,} bytes would become {_gib(size)} at once, more than "
            f"{HIGHEST_RATIO} times as much: it is damaged, or made to fill the memory. If it is "
            f"an image after all, {_CONVERT}."
        )


def free_memory() -> int | None:
    """Bytes that programs can still have, in this container too; None where that is not told."""
    found = [amount for amount in (_of_machine(), _of_container()) if amount is not None]
    return min(found, default=None)


def _of_machine() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text("ascii").splitlines()
    except OSError:  # not Linux: what is free is not told, what there is may be
        try:
            return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        except (AttributeError, ValueError, OSError):
            return None
    amounts = dict(line.split(":", 1) for line in lines if ":" in line)
    return int(amounts["MemAvailable"].split()[0]) << 10 if "MemAvailable" in amounts else None


def _of_container(folder: Path = Path("/sys/fs/cgroup")) -> int | None:
    """What cgroups (version 2) leave of their limit; files that are only cached count as free."""
    try:
        limit = (folder / "memory.max").read_text("ascii").strip()
        used = int((folder / "memory.current").read_text("ascii"))
        lines = (folder / "memory.stat").read_text("ascii").splitlines()
    except (OSError, ValueError):
        return None
    cached = sum(int(line.split()[1]) for line in lines if line.startswith("inactive_file "))
    return None if limit == "max" else max(int(limit) - used + cached, 0)


def _gib(size: int) -> str:
    return f"{size / 2**30:.1f} GiB" if size < 1 << 60 else f"{_number(size)} bytes"


def _number(value: int) -> str:
    return f"{value:,}" if abs(value) < 10**15 else f"{value:.0e}"
