"""Files and folders that are whole or not there: atomic writing, leftovers, checksums."""

import errno
import hashlib
import json
import math
import os
import re
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

_UMASK = os.umask(0)  # it can only be read by setting it
os.umask(_UMASK)

_PART = re.compile(r"\.(.+)\.(\d+)(?:-([0-9a-f]+))?\.part")
_own: set[str] = set()
"""Marks of the names that this process has given."""


_TAKEN = (errno.ENOTEMPTY, errno.EEXIST) + ((errno.EACCES,) if os.name == "nt" else ())
"""What the system says where a folder should take the place of another."""


class Part(NamedTuple):
    """Whose a hidden, half-written file or folder is."""

    target: Path  # what it was to become
    process: int
    mark: str


def part_beside(path: Path) -> Path:
    """A hidden name beside ``path`` for what becomes it, which nobody else takes.

    Threads, processes and machines that write the same thing at once each get their own.
    """
    mark = uuid.uuid4().hex[:12]
    _own.add(mark)
    return path.with_name(f".{path.name}.{os.getpid()}-{mark}.part")


def part_of(path: Path) -> Part | None:
    """What a name of `part_beside` says; None for any other name."""
    match = _PART.fullmatch(path.name)
    return Part(path.with_name(match[1]), int(match[2]), match[3] or "") if match else None


def remove_stale_parts(*paths: Path, all: bool = False) -> None:
    """Remove what processes that have ended left half written in place of ``paths``.

    With ``all``, everything half written goes: for a caller who knows that nobody else writes.
    """
    for found, _ in stale_parts(*paths, all=all):
        remove_part(found)


def stale_parts(*paths: Path, all: bool = False) -> list[tuple[Path, Part]]:
    """What `remove_stale_parts` would remove, and what each was to become."""
    targets = set(paths)
    return [
        (found, part)
        for folder in {path.parent for path in paths if path.parent.is_dir()}
        for found in folder.iterdir()
        if (part := part_of(found)) is not None
        and part.target in targets
        and (all or not is_being_written(part))
    ]


def remove_stale_parts_below(folder: Path) -> None:
    """Remove all that processes which have ended left half written in a folder or below it."""
    for found in list(folder.rglob(".*.part")):
        part = part_of(found)
        if part is not None and not is_being_written(part):
            remove_part(found)


def remove_part(path: Path) -> None:
    """Remove a half-written file or folder, if it is there."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def is_being_written(part: Part) -> bool:
    """Whether this process or another that runs writes it.

    A part of this process's number that it has not made itself is another's: in containers numbers
    come again.
    """
    if part.process == os.getpid():
        return part.mark in _own
    return process_runs(part.process)


def process_runs(number: int) -> bool:
    """Whether a process of this machine runs; on Windows always, for asking would end it."""
    if os.name == "nt":
        return True
    try:
        os.kill(number, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass  # it runs, for another user
    return True


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; on success it is synced to disk and takes its place.

    If the block raises (a full disk, an interrupt), the temporary file is removed and whatever
    stood at ``path`` before is untouched.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = part_beside(path)
    try:
        with full_disk_named(path):
            yield temporary
            temporary.chmod(0o666 & ~_UMASK)  # some libraries let only the owner read
            with open(temporary, "rb+") as file:
                os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield the name of a hidden folder to make beside ``path``; on success it takes its place.

    A folder that stood at ``path`` before goes then, and not earlier; a kill meanwhile leaves
    there what is whole, or nothing.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary, earlier = part_beside(path), part_beside(path)
    try:
        with full_disk_named(path):
            yield temporary
        _put_in_place(temporary, path, earlier)
    finally:
        if earlier.exists() and not path.exists():
            with suppress(OSError):  # another process was quicker
                os.rename(earlier, path)
        for each in (temporary, earlier):
            shutil.rmtree(each, ignore_errors=True)


@contextmanager
def full_disk_named(path: Path) -> Iterator[None]:
    """Let a full disk name what is written: of itself writing names nothing, copying the source."""
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        if full and (error.filename is None or error.filename2 is not None):
            error.filename, error.filename2 = str(path), None
        raise


def _put_in_place(temporary: Path, path: Path, earlier: Path) -> None:
    """Let a folder take the place of another, which other processes may do at the same time."""
    while True:
        remove_part(earlier)
        with suppress(FileNotFoundError):
            os.rename(path, earlier)
        try:
            os.rename(temporary, path)
        except OSError as error:
            if error.errno not in _TAKEN:  # another process was quicker
                raise
        else:
            return


def write_text(path: Path, text: str) -> None:
    """Write ``text`` as UTF-8, atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as indented JSON, atomically; NaN and infinity, which JSON lacks, as null."""
    text = json.dumps(_finite(value), indent=1, ensure_ascii=False, allow_nan=False)
    # Names that are no UTF-8 hold surrogates: backslashes make JSON's own escapes of them.
    with atomic_path(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8", errors="backslashreplace")


def parse_json(text: str | bytes) -> Any:
    """What JSON says.

    Raises:
        ValueError: It is no JSON, or nested more deeply than Python follows.
    """
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def sha256_of_file(path: Path) -> str:
    """SHA-256 of a file's bytes, as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
