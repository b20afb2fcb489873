"""Locks on open files, which the system drops when their holder dies, however it dies."""

import json
import os
import socket
import sys
from typing import TextIO


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
