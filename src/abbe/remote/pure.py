"""What the words of a URL tell: `pathlib.PurePath` of an object behind it. No server is asked."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Self

from abbe.errors import RemoteError
from abbe.remote.systems import refuse_login
from abbe.remote.urls import masked

_PARTS = re.compile(r"([a-z0-9]+://[^/]+)([^?]*)(\?.*)?")


class PureRemotePath:
    """The name of an object, or of all that lies below a prefix; its text holds no credentials."""

    __slots__ = ("_key", "_query", "_root")

    def __init__(self, url: str) -> None:
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

    def _at(self, key: PurePosixPath) -> Self:
        other = object.__new__(type(self))
        other._root, other._query, other._key = self._root, self._query, key
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
    def parent(self) -> Self:
        """What it lies in."""
        return self._at(self._key.parent)

    @property
    def parents(self) -> Sequence[Self]:
        """All that it lies in, the nearest first."""
        return [self._at(key) for key in self._key.parents]

    def __truediv__(self, other: str | os.PathLike[str]) -> Self:
        text = other.as_posix() if isinstance(other, Path | PurePosixPath) else os.fspath(other)
        return self._at(self._key / text.lstrip("/"))

    def joinpath(self, *others: str) -> Self:
        """What lies below."""
        return self._at(self._key.joinpath(*others))

    def with_name(self, name: str) -> Self:
        """Beside it."""
        return self._at(self._key.with_name(name))

    def with_suffix(self, suffix: str) -> Self:
        """Beside it."""
        return self._at(self._key.with_suffix(suffix))

    def relative_to(self, other: PureRemotePath) -> Path:
        """Where it lies below another: a path of no place."""
        if not isinstance(other, PureRemotePath) or other._root != self._root:
            raise ValueError(f"{self} does not lie below {other}")
        return Path(self._key.relative_to(other._key))

    def is_relative_to(self, other: object) -> bool:
        """Whether it lies below another."""
        return (
            isinstance(other, PureRemotePath)
            and other._root == self._root
            and self._key.is_relative_to(other._key)
        )

    def is_absolute(self) -> bool:
        """It always is."""
        return True

    def resolve(self) -> Self:
        """Itself: there are no links."""
        return self

    absolute = expanduser = resolve

    def as_posix(self) -> str:
        """As it is printed."""
        return str(self)

    def __str__(self) -> str:
        return masked(self.url)

    def __repr__(self) -> str:
        return f"{type(self).__name__}('{self}')"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PureRemotePath) and self.url == other.url

    def __lt__(self, other: PureRemotePath) -> bool:
        return (self._root, self._key) < (other._root, other._key)

    def __hash__(self) -> int:
        return hash(self.url)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.url,)

    def url_parts(self) -> tuple[str, ...]:
        """Scheme, bucket or host without a login, and the parts of the name."""
        host = self._root.partition("://")[2].rpartition("@" if self.is_web else "/")[2]
        return (self.scheme, host, *self._key.parts[1:])
