"""What all items of a run share, sent once: a file beside what workers note, read by each once."""

from __future__ import annotations

import os
import pickle
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from abbe.errors import ClusterError, ConfigError
from abbe.files import atomic_path

Value = TypeVar("Value")
_LOCK = threading.Lock()
_READ: dict[Path, Any] = {}
"""Of the last run."""


@dataclass(frozen=True)
class Shared(Generic[Value]):
    """Stands for a value on the workers.

    Attributes:
        path: Of the file, which the workers see under the same name.
    """

    path: Path

    def get(self) -> Value:
        """The value, read when it is first asked for; paths then mean what they do to the client.

        Raises:
            ClusterError: The client's folders are not there.
        """
        with _LOCK:
            if self.path not in _READ:
                folder, data = pickle.loads(self._bytes())
                _enter(folder)
                value = pickle.loads(data)
                _READ.clear()
                _READ[self.path] = value
            return _READ[self.path]

    def _bytes(self) -> bytes:
        try:
            return self.path.read_bytes()
        except FileNotFoundError as error:
            raise ClusterError(
                f"{self.path.parent}: a worker does not see this folder. Files must lie where "
                "client and workers see them under the same paths; what goes to a URL is made in "
                "ABBE_CACHE, which then is such a folder"
            ) from error


def _enter(folder: Path) -> None:
    try:
        os.chdir(folder)
    except OSError as error:
        raise ClusterError(
            f"{folder}: a worker does not see the folder that you work in ({error.strerror}). "
            "Files must lie where client and workers see them under the same paths"
        ) from error


@contextmanager
def share(folder: Path, value: Value) -> Iterator[Shared[Value]]:
    """Write a value for the workers, until the block ends.

    Args:
        folder: That client and workers share; it is made, and removed where nothing else is in it.
        value: Functions of modules that the workers have, and values that can be pickled.

    Raises:
        ConfigError: It cannot be sent.
    """
    from distributed.protocol.pickle import dumps

    try:
        data = dumps(value)
    except Exception as error:  # of whatever type the value is
        raise ConfigError(
            f"--cluster: this cannot be sent to workers ({error}). Give the path or the keys of a "
            "teacher and of data, and not objects"
        ) from error
    folder.mkdir(parents=True, exist_ok=True)
    for stale in folder.glob("shared-*.pickle"):  # of a client that was killed
        stale.unlink(missing_ok=True)
    path = folder / f"shared-{uuid.uuid4().hex}.pickle"
    with atomic_path(path) as temporary:
        temporary.write_bytes(pickle.dumps((Path.cwd(), data)))
    try:
        yield Shared(path)
    finally:
        path.unlink(missing_ok=True)
        if not any(folder.iterdir()):
            folder.rmdir()
