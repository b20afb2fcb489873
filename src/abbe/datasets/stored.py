"""Files of a data set that lie on disk or in the zip archive they came in."""

import os
import zipfile
import zlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from abbe.errors import InputError


@dataclass(frozen=True)
class Stored:
    """A file, or a member of a zip archive.

    Attributes:
        place: the file, or the archive.
        member: its name in the archive; empty for a file on disk.
    """

    place: Path
    member: str = ""

    def __str__(self) -> str:
        return f"{self.place}/{self.member}" if self.member else str(self.place)

    @property
    def name(self) -> str:
        """The last part of its name."""
        return self.member.rpartition("/")[2] if self.member else self.place.name

    def read(self) -> bytes:
        """Its bytes.

        Raises:
            InputError: it is missing or damaged.
        """
        try:
            if self.member:
                return archive_of(self.place).read(self.member)
            return self.place.read_bytes()
        except (OSError, KeyError, zipfile.BadZipFile, zlib.error, EOFError) as error:
            raise InputError(
                f"{self} cannot be read ({error}); it is missing or damaged: fetch the set again"
            ) from error


def archive_of(path: Path) -> zipfile.ZipFile:
    """The archive, opened once a process: a list of 30,000 members takes a while to read.

    Raises:
        InputError: it is damaged or no zip file.
    """
    try:
        facts = path.stat()
        return _opened(path, facts.st_size, facts.st_mtime_ns, os.getpid())
    except (OSError, zipfile.BadZipFile) as error:
        raise InputError(
            f"{path} is damaged or no zip file ({error}): delete it and fetch it again"
        ) from error


@lru_cache(maxsize=8)
def _opened(path: Path, size: int, time_ns: int, process: int) -> zipfile.ZipFile:
    # A process of its own handle: after a fork, two would move one file's position.
    return zipfile.ZipFile(path)
