"""Unpacking archives from the internet: nothing leaves the folder, and nothing fills the disk."""

import gzip
import os
import shutil
import stat
import tarfile
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import IO

from abbe.errors import InputError
from abbe.files import part_beside

MAX_UNPACKED_BYTES = 4 << 30
MAX_MEMBERS = 200_000
_TAR_PADDING = 1 << 20  # tar fills its last record, usually to 10 KiB


def unpack(
    archive: Path,
    folder: Path,
    *,
    max_bytes: int = MAX_UNPACKED_BYTES,
    max_members: int = MAX_MEMBERS,
) -> None:
    """Unpack ``archive`` as ``folder``, which appears only when it is complete.

    Where the archive holds one folder of the same name and nothing else, its contents are taken.

    Args:
        archive: A zip file or, by its name, a tar or tar.gz file; encrypted members, links and
            devices are refused.
        folder: Must not exist.
        max_bytes: Limit of the unpacked size, as stated in the archive (and never exceeded:
            reading stops at a member's stated size).
        max_members: Limit of the number of files.

    Raises:
        InputError: The archive is damaged, unsafe, or larger than the limits or the free space.
    """
    temporary = part_beside(folder)
    try:
        temporary.mkdir(parents=True)
        if archive.name.endswith((".tar", ".tar.gz", ".tgz")):
            _unpack_tar(archive, temporary, max_bytes, max_members)
        else:
            _unpack_zip(archive, temporary, max_bytes, max_members)
        children = list(temporary.iterdir())
        single = len(children) == 1 and children[0].is_dir() and children[0].name == folder.name
        os.replace(children[0] if single else temporary, folder)
    except (
        zipfile.BadZipFile, tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError
    ) as error:  # fmt: skip
        raise InputError(f"{archive} is damaged ({error}): delete it and fetch it again") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _unpack_zip(archive: Path, into: Path, max_bytes: int, max_members: int) -> None:
    with zipfile.ZipFile(archive) as opened:
        members = [
            member
            for member in opened.infolist()
            if not member.is_dir() and not _is_shadow(member.filename)
        ]
        size = sum(member.file_size for member in members)
        _check_limits(archive, len(members), size, max_bytes, max_members)
        free = shutil.disk_usage(into).free
        if size > free:
            raise InputError(
                f"unpacking {archive} needs {size / 1e6:.0f} MB, but {into.parent} has "
                f"{free / 1e6:.0f} MB free: make room"
            )
        for member in members:
            link = stat.S_ISLNK(member.external_attr >> 16)
            _check_member(archive, member.filename, sound=not link and not member.flag_bits & 1)
        for member in members:
            with opened.open(member) as source:
                _write(source, into / member.filename)


def _unpack_tar(archive: Path, into: Path, max_bytes: int, max_members: int) -> None:
    """In one pass, as a tar has no list of its members: each is checked when it comes."""
    count = size = 0
    opener = open if archive.suffix == ".tar" else gzip.open
    with opener(archive, "rb") as stream, tarfile.open(fileobj=stream, mode="r|") as opened:
        for member in opened:
            if member.isdir() or _is_shadow(member.name):
                continue
            count, size = count + 1, size + member.size
            _check_limits(archive, count, size, max_bytes, max_members)
            _check_member(archive, member.name, sound=member.isfile())
            source = opened.extractfile(member)
            assert source is not None  # as it is a file
            with source:
                _write(source, into / member.name)
        # The checksum stands at the end, behind what tar itself needs.
        while rest := stream.read(1 << 20):
            size += len(rest)
            _check_limits(archive, count, size, max_bytes + _TAR_PADDING, max_members)


def _write(source: IO[bytes], target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with open(target, "wb") as out:
        shutil.copyfileobj(source, out, 1 << 20)


def _is_shadow(name: str) -> bool:
    """Whether the member is what a Mac adds to archives of its own."""
    path = PurePosixPath(name)
    return path.parts[:1] == ("__MACOSX",) or path.name.startswith("._")


def _check_limits(archive: Path, count: int, size: int, max_bytes: int, max_members: int) -> None:
    if count > max_members:
        raise InputError(f"{archive} holds {count} files; at most {max_members} are unpacked")
    if size > max_bytes:
        raise InputError(
            f"{archive} would unpack to {size / 1e6:.0f} MB; at most {max_bytes / 1e6:.0f} MB are "
            f"unpacked"
        )


def _check_member(archive: Path, name: str, *, sound: bool) -> None:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or ":" in name:
        raise InputError(f"{archive} is unsafe: '{name}' would leave its folder")
    if not sound:
        raise InputError(f"{archive} is unsafe: '{name}' is encrypted, a link or a device")
