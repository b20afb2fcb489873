"""Paths of this machine and behind URLs, used alike."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any, cast

from abbe.remote.paths import RemotePath
from abbe.remote.urls import url_of

_AT_ONCE = 64  # requests
_SMALL = 1 << 20  # bytes, which take no longer than two or three requests for parts


def as_path(place: str | os.PathLike[str]) -> Path:
    """A path of this machine, or one behind a URL, which is used alike."""
    if isinstance(place, RemotePath):
        return cast(Path, place)
    url = url_of(place)
    return Path(place) if url is None else cast(Path, RemotePath(url))


def plain(value: Any) -> Any:
    """A URL as a path of pathlib's, which `as_path` knows again; anything else as it is.

    For libraries that take these alone; it holds what is secret in the URL.
    """
    return Path(value.url) if isinstance(value, RemotePath) else value


def as_remote(path: object) -> RemotePath | None:
    """The path itself where it is behind a URL, else None."""
    return path if isinstance(path, RemotePath) else None


def is_there(path: Path) -> bool:
    """Whether there is something; of this machine, whatever its name, and who may enter there."""
    # Path.exists fails for names that are too long, and where a folder may not be entered.
    return os.path.exists(path) if as_remote(path) is None else path.exists()


def is_folder(path: Path) -> bool:
    """Whether it is a folder; likewise."""
    return os.path.isdir(path) if as_remote(path) is None else path.is_dir()


def parts_of(path: Path, places: Sequence[tuple[int, int]]) -> Iterator[bytes]:
    """Parts of a file, one after the other; those behind a URL are fetched many at a time.

    Args:
        path: The file.
        places: Where each begins, and how many bytes it has; shorter where the file ends.
    """
    remote = _read_in_parts(path)
    if remote is not None:
        for first in range(0, len(places), _AT_ONCE):
            yield from remote.ranges(places[first : first + _AT_ONCE])
        return
    with open(path, "rb") as file:
        for start, count in places:
            file.seek(start)
            yield file.read(count)


def is_web(path: Path) -> bool:
    """Whether it lies on a web server, which lists no folders."""
    remote = as_remote(path)
    return remote is not None and remote.is_web


def opened(path: Path) -> IO[bytes]:
    """A file to read here and there in."""
    remote = _read_in_parts(path)
    return open(path, "rb") if remote is None else remote.opened()


def _read_in_parts(path: Path) -> RemotePath | None:
    """The path where it lies behind a URL and its object is large; a small one comes whole."""
    remote = as_remote(path)
    if remote is None:
        return None
    found = remote.stat()
    return None if found.version and found.st_size <= _SMALL else remote
