"""Locks on open files, which the system drops when their holder dies, however it dies."""

import errno
import json
import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

from abbe.files.whole import process_runs

_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
_POLL_SECONDS = 0.1


def sign(file: TextIO) -> None:
    """Write into a locked file who holds it."""
    file.truncate(0)
    file.write(json.dumps({"pid": os.getpid(), "host": socket.gethostname()}))
    file.flush()


def holder_of(file: TextIO) -> str:
    """Who holds a file, as it says itself, for a message."""
    file.seek(0)
    try:
        facts = json.loads(file.read())
        return f"process {facts['pid']} on {facts['host']}"
    except (ValueError, KeyError, TypeError):  # it was taken this instant
        return "another process"


def holder_runs(path: Path) -> bool | None:
    """Whether whoever holds a lock file runs; None where it cannot be told. No lock is taken.

    The file is gone when its holder has ended as it should; one that was killed leaves it.
    """
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        number, host = int(facts["pid"]), facts["host"]
    except FileNotFoundError:
        return False
    except (OSError, ValueError, KeyError, TypeError):  # it is taken this instant
        return None
    return process_runs(number) if host == socket.gethostname() else None


@contextmanager
def alone(path: Path, *, wait: bool = False) -> Iterator[bool]:
    """Keep other threads and processes out of such a block with the same lock file ``path``.

    The file says who holds it and is removed at the end. What a killed process left of it is taken
    over.

    Args:
        path: The lock file; its folder must exist.
        wait: Wait for another holder to end.

    Yields:
        Whether others are kept out; False where the file system, as some of clusters, has no locks.

    Raises:
        BlockingIOError: Another holds it, who is named, and ``wait`` is not set.
        OSError: The lock cannot be written.
    """
    file, kept_out = _take(path, wait)
    try:
        yield kept_out
    finally:
        _give_back(path, file)


def lock_beside(target: Path) -> Path:
    """The hidden lock file of whoever makes ``target``."""
    return target.with_name(f".{target.name}.lock")


def _take(path: Path, wait: bool) -> tuple[TextIO, bool]:
    """The lock's file, open: closing it gives the lock back; and whether it is locked."""
    while True:
        file = open(path, "a+", encoding="utf-8")  # noqa: SIM115 - held open on purpose
        try:
            locked = _lock_if_there_are_locks(file)
            if os.fstat(file.fileno()).st_nlink:
                sign(file)
                return file, locked
        except BlockingIOError:
            if not wait:
                holder = holder_of(file)
                file.close()
                raise BlockingIOError(holder) from None
            time.sleep(_POLL_SECONDS)
        except BaseException:
            file.close()
            raise
        file.close()  # its holder has removed it since it was opened, or still holds it


def _lock_if_there_are_locks(file: TextIO) -> bool:
    try:
        lock(file)
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        return False
    return True


def _give_back(path: Path, file: TextIO) -> None:
    if sys.platform == "win32":  # where an open file cannot be removed
        file.close()
        with suppress(PermissionError):  # the next process has opened it, so it stays
            path.unlink(missing_ok=True)
    else:
        path.unlink(missing_ok=True)
        file.close()


if sys.platform == "win32":
    import msvcrt

    def lock(file: TextIO) -> None:
        """Lock a file for this process alone.

        Raises:
            BlockingIOError: Another holds it.
            OSError: The file system has no locks.
        """
        # Windows forbids reading what is locked: lock a byte behind the text.
        os.lseek(file.fileno(), 1 << 30, os.SEEK_SET)
        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except PermissionError as error:
            raise BlockingIOError(*error.args) from None

    def unlock(file: TextIO) -> None:
        """Give a lock back, also where processes forked meanwhile have the file open."""
        os.lseek(file.fileno(), 1 << 30, os.SEEK_SET)
        msvcrt.locking(file.fileno(), msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def lock(file: TextIO) -> None:
        """Lock a file for this process alone.

        Raises:
            BlockingIOError: Another holds it.
            OSError: The file system has no locks.
        """
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)

    def unlock(file: TextIO) -> None:
        """Give a lock back, also where processes forked meanwhile have the file open."""
        fcntl.flock(file.fileno(), fcntl.LOCK_UN)
