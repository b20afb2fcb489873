"""Objects written whole: under its name an object is what it was, or what it is to be."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from abbe.errors import ConfigError, RemoteError
from abbe.remote.cache import cache_folder
from abbe.remote.faults import in_words
from abbe.remote.paths import ZARR, RemotePath
from abbe.remote.systems import system

_TOGETHER = 1000  # that a request may name


def writable(place: RemotePath) -> RemotePath:
    """The place itself, where buckets can be written to.

    Raises:
        ConfigError: It lies on a web server.
    """
    if place.is_web:
        raise ConfigError(
            f"{place}: a web server is only read from. Give a folder, or a bucket such as "
            "s3://bucket/results"
        )
    return place


def staging_of(place: RemotePath) -> Path:
    """The folder of this machine in which is made what goes there; never cleared by itself."""
    digest = hashlib.sha256(str(place).encode()).hexdigest()[:12]
    return cache_folder() / "outgoing" / f"{place.name}-{digest}"


def put(file: Path, target: RemotePath) -> None:
    """Write a file, or a folder: of a zarr folder what makes it one comes last.

    Raises:
        RemoteError: It cannot be written, or there is no such bucket.
    """
    if not file.is_dir():
        with _writing(target):
            system(target.url).put_file(os.fspath(file), target.inside)
        return
    files = [each for each in file.rglob("*") if each.is_file()]
    own = {each.relative_to(file).as_posix() for each in files}
    stale = [each for each in target.below() if each.relative_to(target).as_posix() not in own]
    # What stood there is taken apart from its root, and put together towards it.
    remove([target / name for name in ZARR if (target / name).exists()])
    remove(stale)
    for each in sorted(files, key=lambda each: (each.name in ZARR, -len(each.parts), each)):
        put(each, target / each.relative_to(file))


def put_bytes(data: bytes, target: RemotePath) -> None:
    """Write an object.

    Raises:
        RemoteError: It cannot be written, or there is no such bucket.
    """
    with _writing(target):
        system(target.url).pipe_file(target.inside, data)


def remove(targets: Iterable[RemotePath]) -> None:
    """Remove objects; those that are not there any more are none to remove.

    Raises:
        RemoteError: They may not be removed.
    """
    names = list(targets)
    for start in range(0, len(names), _TOGETHER):
        batch = names[start : start + _TOGETHER]
        with in_words(batch[0].url, "removed"), suppress(FileNotFoundError):
            system(batch[0].url).rm([each.inside for each in batch])


@contextmanager
def _writing(target: RemotePath) -> Iterator[None]:
    try:
        with in_words(target.url, "written"):
            yield
    except FileNotFoundError as error:
        raise RemoteError(f"{target}: {error.strerror}. Make it first, or check its name") from None
