"""One writer at a time: a lock that the system drops when its holder dies, however it dies."""

from pathlib import Path

from abbe.errors import StoreError
from abbe.files.locks import holder_of, lock, sign, unlock


class WriterLock:
    """Held from construction to :meth:`release`.

    The system keeps the lock on the open file, so a killed writer leaves none behind; the file
    stays, empty once the lock is given back: stores are given away, and need not name a machine.

    Args:
        path: the lock file; made if it is not there.

    Raises:
        StoreError: another writer holds it, naming process and machine.
        OSError: the folder is unwritable or its file system has no locks.
    """

    def __init__(self, path: Path) -> None:
        self._file = open(path, "a+", encoding="utf-8")  # noqa: SIM115 - held open on purpose
        try:
            lock(self._file)
        except BlockingIOError:
            holder = holder_of(self._file)
            self._file.close()
            raise StoreError(
                f"{path.parent}: {holder} is writing to this store; wait until it has "
                "finished, or teach into another store"
            ) from None
        except OSError:
            self._file.close()
            raise
        sign(self._file)

    def release(self) -> None:
        """Let the next writer in."""
        self._file.truncate(0)
        unlock(self._file)
        self._file.close()
