"""One process an image at a time: a lock that the system drops when its holder dies, however."""

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

from abbe.errors import InputError
from abbe.locks import holder_of, lock, sign

_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


@contextmanager
def in_hand(folder: Path) -> Iterator[None]:
    """Keep other processes out of a hidden folder while the block runs.

    The lock is on the file ``FOLDER.lock``, which says who holds it and is removed at the end. What
    a killed process left of it is taken over. Where the file system has no locks, as some of
    clusters, nobody is kept out.

    Args:
        folder: The folder, which need not exist; only the name of its lock is made of it.

    Raises:
        InputError: Another process works in it, which the message names.
        OSError: The lock cannot be written.
    """
    path = folder.with_name(f"{folder.name}.lock")
    path.parent.mkdir(parents=True, exist_ok=True)
    file = _take(path, folder)
    try:
        yield
    finally:
        _give_back(path, file)


def _take(path: Path, folder: Path) -> TextIO:
    """The lock's file, open: closing it gives the lock back."""
    while True:
        file = open(path, "a+", encoding="utf-8")  # noqa: SIM115 - held open on purpose
        try:
            _lock_or_refuse(file, folder)
            if os.fstat(file.fileno()).st_nlink:
                sign(file)
                return file
        except BaseException:
            file.close()
            raise
        file.close()  # its holder has removed it since it was opened


def _lock_or_refuse(file: TextIO, folder: Path) -> None:
    try:
        lock(file)
    except BlockingIOError:
        raise InputError(
            f"{folder}: {holder_of(file)} has this image in hand. Wait until it has finished, or "
            "give another --out"
        ) from None
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise


def _give_back(path: Path, file: TextIO) -> None:
    if sys.platform == "win32":  # where an open file cannot be removed
        file.close()
        with suppress(PermissionError):  # the next process has opened it, so it stays
            path.unlink(missing_ok=True)
    else:
        path.unlink(missing_ok=True)
        file.close()
