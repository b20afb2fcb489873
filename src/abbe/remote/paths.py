"""A path behind a URL that is used as `pathlib.Path` is, for reading.

What needs a file of this machine gets one: ``os.fspath`` fetches the object (`abbe.remote.cache`),
so ``open(path)`` and libraries that take paths read it whole. `opened` and `ranges` read parts.
What its words alone tell is in `abbe.remote.pure`.
"""

from __future__ import annotations

import errno
import hashlib
import io
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, Self

from abbe.errors import RefusedError, RemoteError
from abbe.files import atomic_path
from abbe.remote.faults import again, in_words
from abbe.remote.pure import PureRemotePath
from abbe.remote.ranges import RangeReader
from abbe.remote.systems import system

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


class RemotePath(PureRemotePath):
    """An object, or all that lies below a prefix.

    Picklable. What a listing has told of it is not asked again.
    """

    __slots__ = ("_status",)

    def __init__(self, url: str, status: Status | None = None) -> None:
        super().__init__(url)
        self._status = status

    def _at(self, key: PurePosixPath, status: Status | None = None) -> Self:
        other = super()._at(key)
        other._status = status
        return other

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
