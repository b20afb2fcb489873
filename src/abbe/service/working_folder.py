"""Where images lie while they are worked on: a folder that nothing outlives."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from abbe.files.locks import alone, lock_beside

_PREFIX = "abbe-service-"


@contextmanager
def working_folder() -> Iterator[Path]:
    """A folder for this process alone, in the system's folder for temporary files.

    Nobody else may read it, and it is removed at the end. What a killed service left is removed
    when the next one starts.
    """
    base = Path(tempfile.gettempdir())
    _remove_left(base)
    with tempfile.TemporaryDirectory(prefix=_PREFIX) as name, alone(lock_beside(Path(name))):
        yield Path(name)


def _remove_left(base: Path) -> None:
    for lock in base.glob(f".{_PREFIX}*.lock"):
        folder = base / lock.name.removeprefix(".").removesuffix(".lock")
        try:
            with alone(lock) as kept_out:
                if kept_out and not folder.is_symlink():
                    shutil.rmtree(folder, ignore_errors=True)
        except OSError:  # its service runs, or is another user's
            continue
