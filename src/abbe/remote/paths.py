"""A path behind a URL that is used as `pathlib.Path` is, for reading.

What needs a file of this machine gets one: ``os.fspath`` fetches the object (`abbe.remote.cache`),
so ``open(path)`` and libraries that take paths read it whole. `opened` and `ranges` read parts.
"""

from __future__ import annotations

import errno
import hashlib
import io
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import IO, Any, BinaryIO, cast

from abbe.errors import RefusedError, RemoteError
from abbe.files import atomic_path
from abbe.remote.faults import again, in_words
from abbe.remote.ranges import RangeReader
from abbe.remote.systems import refuse_login, system
from abbe.remote.urls import masked, url_of

_PARTS = re.compile(r"([a-z0-9]+://[^/]+)([^?]*)(\?.*)?")
_AT_ONCE = 64  # requests
_SMALL = 1 << 20  # bytes, which take no longer than two or three requests for parts
_BLOCK = 1 << 16  # bytes read at once from tables that lie here and there in a file
ZARR = ("zarr.json", ".zgroup", ".zarray", ".zattrs")


@dataclass(frozen=True)
class Status:
    """What is known of an object.

    Attributes:
        folder: Whether it stands for what lies below it.
        st_size: Bytes.
        version: Changes when its contents do: the server's checksum, or its time of change; empty
            where the server tells neither.
    """

    folder: bool
    st_size: int = 0
    version: str = ""

    @property
    def st_mtime_ns(self) -> int:
        """A number that changes when the contents do, as the time of a file does."""
        return int(hashlib.sha256(self.version.encode()).hexdigest()[:15], 16)


class RemotePath:
    """An object, or all that lies below a prefix; its text holds no credentials.

    Picklable. What a listing has told of it is not asked again.
    """

    __slots__ = ("_key", "_query", "_root", "_status")

    def __init__(self, url: str, status: Status | None = None) -> None:
        refuse_login(url)
        found = _PARTS.fullmatch(url)
        if found is None:
            raise RemoteError(f"{masked(url)}: is no URL of an object, such as s3://bucket/name")
        self._root, self._query = found[1], found[3] or ""
        if url.startswith("s3:"):  # whose names may hold question marks
            self._query, key = "", found[2] + self._query
        else:
            key = found[2]
        self._key = PurePosixPath("/" + key.lstrip("/"))
        self._status = status

    def _at(self, key: PurePosixPath, status: Status | None = None) -> RemotePath:
        other = object.__new__(RemotePath)
        other._root, other._query, other._key, other._status = self._root, self._query, key, status
        return other

    @property
    def url(self) -> str:
        """The whole URL, with what is secret in it: not for people."""
        return f"{self._root}{'' if self._is_root else self._key}{self._query}"

    @property
    def scheme(self) -> str:
        """Such as s3."""
        return self._root.partition(":")[0]

    @property
    def is_web(self) -> bool:
        """Whether it lies on a web server, which lists no folders and takes no files."""
        return self.scheme in ("http", "https")

    @property
    def _is_root(self) -> bool:
        return self._key == PurePosixPath("/")

    @property
    def inside(self) -> str:
        """How fsspec's file system calls it."""
        return self.url if self.is_web else self.url.partition("://")[2]

    # What the words of a path tell.

    @property
    def name(self) -> str:
        """The last part; of a bucket its name."""
        return self._key.name or masked(self._root).rpartition("/")[2]

    @property
    def stem(self) -> str:
        """The name without its suffix."""
        return self._key.stem

    @property
    def suffix(self) -> str:
        """As of a file."""
        return self._key.suffix

    @property
    def parts(self) -> tuple[str, ...]:
        """Bucket first."""
        return (masked(self._root), *self._key.parts[1:])

    @property
    def parent(self) -> RemotePath:
        """What it lies in."""
        return self._at(self._key.parent)

    @property
    def parents(self) -> Sequence[RemotePath]:
        """All that it lies in, the nearest first."""
        return [self._at(key) for key in self._key.parents]

    def __truediv__(self, other: str | os.PathLike[str]) -> RemotePath:
        text = other.as_posix() if isinstance(other, Path | PurePosixPath) else os.fspath(other)
        return self._at(self._key / text.lstrip("/"))

    def joinpath(self, *others: str) -> RemotePath:
        """What lies below."""
        return self._at(self._key.joinpath(*others))

    def with_name(self, name: str) -> RemotePath:
        """Beside it."""
        return self._at(self._key.with_name(name))

    def with_suffix(self, suffix: str) -> RemotePath:
        """Beside it."""
        return self._at(self._key.with_suffix(suffix))

    def relative_to(self, other: RemotePath) -> Path:
        """Where it lies below another: a path of no place."""
        if not isinstance(other, RemotePath) or other._root != self._root:
            raise ValueError(f"{self} does not lie below {other}")
        return Path(self._key.relative_to(other._key))

    def is_relative_to(self, other: object) -> bool:
        """Whether it lies below another."""
        return (
            isinstance(other, RemotePath)
            and other._root == self._root
            and self._key.is_relative_to(other._key)
        )

    def is_absolute(self) -> bool:
        """It always is."""
        return True

    def resolve(self) -> RemotePath:
        """Itself: there are no links."""
        return self

    absolute = expanduser = resolve

    def as_posix(self) -> str:
        """As it is printed."""
        return str(self)

    def __str__(self) -> str:
        return masked(self.url)

    def __repr__(self) -> str:
        return f"RemotePath('{self}')"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RemotePath) and self.url == other.url

    def __lt__(self, other: RemotePath) -> bool:
        return (self._root, self._key) < (other._root, other._key)

    def __hash__(self) -> int:
        return hash(self.url)

    def __reduce__(self) -> tuple[Any, ...]:
        return RemotePath, (self.url,)

    def url_parts(self) -> tuple[str, ...]:
        """Scheme, bucket or host without a login, and the parts of the name."""
        host = self._root.partition("://")[2].rpartition("@" if self.is_web else "/")[2]
        return (self.scheme, host, *self._key.parts[1:])

    # What is asked of the server.

    def __fspath__(self) -> str:
        """The name of a copy on this machine, which is fetched where there is none."""
        from abbe.remote.cache import local_copy

        return os.fspath(local_copy(self))

    def status(self) -> Status | None:
        """What the server says of it; None where there is nothing.

        Raises:
            RemoteError: It does not say.
        """
        if self._status is None:
            try:
                self._status = self._asked()
            except FileNotFoundError:
                return None
        return self._status

    def _asked(self) -> Status:
        files = system(self.url)
        try:
            with in_words(self.url):
                if self.is_web:
                    return _status_of(again(self.url, lambda: files.info(self.inside)))
                return _status_of(files.info(self.inside))
        except (FileNotFoundError, RefusedError):
            # Web servers know no folders; a zarr folder is told by what lies in it.
            may_be = self.is_web and self.name not in ZARR
            if may_be and any((self / name).exists() for name in ZARR):
                return Status(folder=True)
            raise

    def _found(self) -> Status:
        found = self.status()
        if found is None:
            raise FileNotFoundError(errno.ENOENT, "there is no such object", str(self))
        return found

    def stat(self) -> Status:
        """Its size and version.

        Raises:
            FileNotFoundError: There is nothing.
        """
        return self._found()

    def contents(self) -> dict[str, Any]:
        """What changes when it does: bytes and version; of a folder those of its objects.

        Of a zarr folder on a web server, which lists nothing, those of its metadata.
        """
        found = self._found()
        if not found.folder:
            return {"bytes": found.st_size, "version": found.version}
        if self.is_web:
            known = [self / name for name in ZARR]
        else:
            known = list(self.below())
        versions = sorted(
            (each.name, status.version, status.st_size)
            for each in known
            if (status := each.status())
        )
        digest = hashlib.sha256(repr(versions).encode()).hexdigest()
        return {"bytes": sum(size for *_, size in versions), "version": digest}

    def exists(self) -> bool:
        """Whether there is an object, or one below.

        Who may not list a bucket is refused what is not in it, too: of the files that make a zarr
        folder, of which some are never there, that is believed.
        """
        return self.is_readable() if self.name in ZARR else self.status() is not None

    def is_readable(self) -> bool:
        """Whether there is an object that may be read."""
        try:
            return self.status() is not None
        except RefusedError:
            return False

    def is_dir(self) -> bool:
        """Whether objects lie below."""
        found = self.status()
        return found is not None and found.folder

    def is_file(self) -> bool:
        """Whether it is an object."""
        found = self.status()
        return found is not None and not found.folder

    def is_symlink(self) -> bool:
        """There are no links."""
        return False

    def told_missing(self) -> str:
        """A sentence that ends a message about what is not there: that its bucket is not, too."""
        if self.is_web or self.exists():
            return ""
        bucket = self._at(PurePosixPath("/"))
        if bucket._exists_by_listing():
            return ""
        return (
            f" There is no bucket '{bucket.name}', either: check its name, and the address of the "
            "server where it is none of the cloud's own (for s3, AWS_ENDPOINT_URL)."
        )

    def _exists_by_listing(self) -> bool:
        try:
            self._asked()
        except FileNotFoundError:
            return False
        except RemoteError:
            return True  # it may not be looked into, so it is there
        return True

    def iterdir(self) -> Iterator[RemotePath]:
        """What lies in it, by name.

        Raises:
            FileNotFoundError: There is nothing.
            RemoteError: It may not be listed, or cannot be.
        """
        self._refuse_listing()
        files = system(self.url)
        with in_words(self.url, "listed"):
            found = files.ls(self.inside, detail=True)
        own = self.inside.rstrip("/")
        for each in sorted(found, key=lambda each: each["name"]):
            name = each["name"].rstrip("/")
            if name != own:  # programs mark an empty folder by an object of its name
                yield self._at(self._key / name.rpartition("/")[2], _status_of(each))

    def below(self) -> Iterator[RemotePath]:
        """All objects at any depth."""
        self._refuse_listing()
        files = system(self.url)
        with in_words(self.url, "listed"):
            found = files.find(self.inside, detail=True)
        start = len(self.inside.rstrip("/")) + 1
        for name in sorted(found):
            if len(name) > start and not name.endswith("/"):
                yield self._at(self._key / name[start:], _status_of(found[name]))

    def _refuse_listing(self) -> None:
        if self.is_web:
            raise RemoteError(
                f"{self}: a web server does not say what lies in a folder. Name the files, or use "
                "the bucket itself, such as s3://"
            )

    def glob(self, pattern: str) -> Iterator[RemotePath]:
        """What lies below it and is called so; ** is any depth."""
        first, _, rest = pattern.partition("/")
        if first == "**":
            yield from self.rglob(rest or "*")
            return
        if not any(letter in first for letter in "*?["):
            found: Iterator[RemotePath] = iter([self / first])
        else:
            found = (each for each in self.iterdir() if fnmatchcase(each.name, first))
        for each in found:
            if rest and each.is_dir():
                yield from each.glob(rest)
            elif not rest and each.exists():
                yield each

    def rglob(self, pattern: str) -> Iterator[RemotePath]:
        """All objects at any depth that are called so."""
        for each in self.below():
            if fnmatchcase(each.name, pattern.rpartition("/")[2]):
                yield each

    def fetch(self, target: Path) -> None:
        """Write the object to a file, which is whole or not there.

        Raises:
            FileNotFoundError: There is nothing.
            RemoteError: It cannot be read, or comes cut short.
        """
        files, size = system(self.url), self.stat().st_size
        with atomic_path(target) as temporary:
            with in_words(self.url):
                if self.is_web:
                    again(self.url, lambda: files.get_file(self.inside, os.fspath(temporary)))
                else:
                    files.get_file(self.inside, os.fspath(temporary))
            came = temporary.stat().st_size
            if size and came != size:
                raise RemoteError(
                    f"{self}: {came:,} of its {size:,} bytes came: it was changed meanwhile, or "
                    "cut short. Start again"
                )

    def read_bytes(self) -> bytes:
        """The whole object, not kept on this machine.

        Raises:
            FileNotFoundError: There is nothing.
        """
        files = system(self.url)
        with in_words(self.url):
            if self.is_web:
                return again(self.url, lambda: files.cat_file(self.inside))
            return files.cat_file(self.inside)

    def read_text(self, encoding: str = "utf-8") -> str:
        """The whole object as text."""
        return self.read_bytes().decode(encoding)

    def ranges(self, places: Sequence[tuple[int, int]]) -> list[bytes]:
        """Parts of the object, all asked for at the same time.

        Args:
            places: Where each begins, and how many bytes it has.
        """
        files = system(self.url)
        wanted = [(start, start + count) for start, count in places if count]
        paths = [self.inside] * len(wanted)
        starts, ends = [start for start, _ in wanted], [end for _, end in wanted]

        def read() -> list[bytes]:
            return files.cat_ranges(paths, starts, ends, on_error="raise")

        with in_words(self.url):
            found = iter(again(self.url, read) if self.is_web else read())
        parts = [next(found) if count else b"" for _, count in places]
        if any(len(part) > count for part, (_, count) in zip(parts, places, strict=True)):
            raise RemoteError(
                f"{self}: the server sends whole files where a part was asked for. Copy the file "
                "here first"
            )
        return parts

    def opened(self) -> BinaryIO:
        """A file whose parts are read when they are asked for."""
        return io.BufferedReader(RangeReader(self), _BLOCK)


def _status_of(info: Mapping[str, Any]) -> Status:
    if info.get("type") == "directory":
        return Status(folder=True)
    told = (info.get(key) for key in
            ("ETag", "etag", "md5Hash", "content_md5", "LastModified", "last_modified", "updated",
             "mtime"))  # fmt: skip
    version = next((str(each).strip('"') for each in told if each), "")
    return Status(False, int(info.get("size") or 0), version)


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
