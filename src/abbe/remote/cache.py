"""Copies on this machine of objects that must be files, no more than so many bytes of them.

A copy is taken as long as the server's checksum of the object stays the same. Those that were used
longest ago go first. The folder is ``ABBE_CACHE``, the size ``ABBE_CACHE_SIZE`` (in GB).
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING
from urllib.parse import quote

from abbe.errors import ConfigError, RemoteError
from abbe.files import parse_json, write_json
from abbe.files.locks import alone, lock_beside

if TYPE_CHECKING:
    from abbe.remote.paths import RemotePath, Status

FOLDER, SIZE = "ABBE_CACHE", "ABBE_CACHE_SIZE"
USUAL_GB = 20.0
_IN_USE_SECONDS = 60.0
"""What was asked for so lately may be about to be opened: it stays."""
_FILLED = 0.9  # of the size, after room was made: each look at the folder costs time
_LONGEST_NAME = 200
_RECORD = ".abbe-copy.json"

_lock = Lock()
_held: dict[Path, int] = {}
"""Bytes in each cache folder, as far as this process knows."""


def cache_folder() -> Path:
    """``ABBE_CACHE``, else ``XDG_CACHE_HOME``/abbe, else the system's folder for caches."""
    if chosen := os.environ.get(FOLDER):
        return Path(chosen).expanduser().absolute()
    if chosen := os.environ.get("XDG_CACHE_HOME"):
        return Path(chosen) / "abbe" / "remote"
    from platformdirs import user_cache_path

    return user_cache_path("abbe", appauthor=False) / "remote"


def cache_bytes() -> int:
    """How much the copies may take.

    Raises:
        ConfigError: ``ABBE_CACHE_SIZE`` is no number above 0.
    """
    text = os.environ.get(SIZE, "")
    try:
        gigabytes = float(text) if text else USUAL_GB
    except ValueError:
        gigabytes = 0.0
    if not 0 < gigabytes < float("inf"):
        raise ConfigError(f"{SIZE}={text}: give GB, such as {USUAL_GB:g}")
    return int(gigabytes * 1e9)


def local_copy(path: RemotePath) -> Path:
    """The copy of an object, fetched where there is none of its present contents.

    Objects of one folder lie side by side, as slides of several files need it.

    Raises:
        FileNotFoundError: There is no such object.
        IsADirectoryError: It is a folder.
        RemoteError: It cannot be read, or is larger than the cache may be.
        OSError: The disk is full or cannot be written to.
    """
    status = path.stat()
    if status.folder:
        raise IsADirectoryError(f"{path}: this is a folder, not an object")
    copies = cache_folder() / "copies"
    target = copies.joinpath(*(_plain(part) for part in path.url_parts()))
    target.parent.mkdir(parents=True, exist_ok=True)
    with alone(lock_beside(target), wait=True):
        if not _is_copy(target, status):
            _make_room(copies, path, status.st_size)
            _fetch(path, target, status)
        os.utime(_record_of(target))
    return target


def folder_copy(path: RemotePath) -> Path:
    """The copies of all objects below a prefix, in a folder of the same layout.

    Raises:
        FileNotFoundError: There are none.
        RemoteError: As of `local_copy`.
    """
    copies = [local_copy(each) for each in path.below()]
    if not copies:
        raise FileNotFoundError(f"{path}: there is no such folder")
    folder = (cache_folder() / "copies").joinpath(*(_plain(part) for part in path.url_parts()))
    kept = {*copies, *map(_record_of, copies)}
    for file in folder.rglob("*"):  # of objects that are there no more
        if file.is_file() and file not in kept and not file.name.endswith(".lock"):
            file.unlink(missing_ok=True)
    return folder


def _plain(part: str) -> str:
    """A name that every file system takes, and that leads nowhere else."""
    if part.strip(".") == "":
        return part.replace(".", "%2E") or "_"
    name = quote(part, safe=" !#$&'()+,;=@[]{}~^")
    if len(name) <= _LONGEST_NAME:
        return name
    digest = hashlib.sha256(part.encode()).hexdigest()[:16]
    return f"{digest}{Path(part).suffix[:20]}"


def _record_of(target: Path) -> Path:
    return target.with_name(f".{target.name}{_RECORD}")


def _is_copy(target: Path, status: Status) -> bool:
    if not status.version:  # nothing tells whether it has changed
        return False
    try:
        said = parse_json(_record_of(target).read_bytes())
        size = target.stat().st_size
    except (OSError, ValueError):
        return False
    return said == {"version": status.version, "bytes": status.st_size} and size == status.st_size


def _fetch(path: RemotePath, target: Path, status: Status) -> None:
    _record_of(target).unlink(missing_ok=True)
    path.fetch(target)
    write_json(_record_of(target), {"version": status.version, "bytes": status.st_size})


def _make_room(copies: Path, path: RemotePath, size: int) -> None:
    """Remove copies, those used longest ago first, until another fits."""
    most = cache_bytes()
    if size > most:
        raise RemoteError(
            f"{path}: its format needs a copy on this machine, and its {size / 1e9:,.2f} GB are "
            f"more than the {most / 1e9:,.2f} GB that copies may take. Set {SIZE} to more GB, and "
            f"{FOLDER} to a folder on a disk with room for them"
        )
    with _lock:
        if copies not in _held:
            _held[copies] = sum(held for _, held, _ in _copies_in(copies))
        _held[copies] += size
        if _held[copies] > most:
            _held[copies] = _forget_oldest(copies, int(most * _FILLED) - size) + size


def _forget_oldest(copies: Path, kept: int) -> int:
    """Remove the oldest copies until the others take no more than so many bytes, and count them."""
    found = sorted(_copies_in(copies))
    held = sum(size for _, size, _ in found)
    for used, size, target in found:
        if held <= kept or time.time() - used < _IN_USE_SECONDS:
            break
        with suppress(OSError):  # Windows removes no file that is open
            target.unlink(missing_ok=True)
            _record_of(target).unlink(missing_ok=True)
            held -= size
    return held


def _copies_in(copies: Path) -> Iterator[tuple[float, int, Path]]:
    """When each copy was last used, its bytes, and where it is."""
    for record in copies.rglob(f".*{_RECORD}"):
        target = record.with_name(record.name[1 : -len(_RECORD)])
        with suppress(OSError):
            yield record.stat().st_mtime, target.stat().st_size, target
