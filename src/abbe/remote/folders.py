"""A folder in a bucket that is worked on: a run, a store, a package that is made.

It is made in a folder of this machine, which holds what is there. What changes is uploaded every
minute, and at the end, however it ends. Objects are replaced whole. Files that others are named in
(``*.jsonl``, such as the index of a store) are read before the others are uploaded, and uploaded
after them, so that what lies in the bucket is always whole.
"""

from __future__ import annotations

import os
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from abbe.errors import RemoteError
from abbe.files import parse_json, part_of, write_json
from abbe.files.locks import alone, lock_beside
from abbe.remote.alike import as_path, as_remote
from abbe.remote.paths import RemotePath
from abbe.remote.urls import show_as
from abbe.remote.writing import put, put_bytes, remove, staging_of, writable

UPLOAD_SECONDS = 60.0
_WRITER = ".abbe-writer"
"""The object that says, with a file here, whose work was uploaded last."""


@contextmanager
def worked_on(place: str | os.PathLike[str]) -> Iterator[Path]:
    """A folder to write to: itself, or one of this machine whose contents go to a bucket.

    Of several processes of a training only the first uploads.

    Args:
        place: The folder or URL. What lies there is there, too, when the block begins.

    Raises:
        ConfigError: It lies on a web server.
        RemoteError: It cannot be read or written, or another process of this machine works on it.
    """
    path = as_path(place)
    remote = as_remote(path)
    if remote is None:
        yield path
        return
    folder = staging_of(writable(remote))
    show_as(str(folder), str(remote))
    if os.environ.get("RANK", "0") != "0":
        yield folder
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        with alone(lock_beside(folder)):
            yield from _mirrored(_Mirror(remote, folder))
    except BlockingIOError as error:
        raise RemoteError(f"{remote}: {error} works on it. Wait until it has finished") from None


def _mirrored(mirror: _Mirror) -> Iterator[Path]:
    mirror.bring()
    ended = threading.Event()

    def repeat() -> None:
        while not ended.wait(UPLOAD_SECONDS):
            try:
                mirror.send()
            except (RemoteError, OSError):  # a file that was just replaced, or a busy server:
                continue  # it is sent with the next, and at the end for certain

    thread = threading.Thread(target=repeat, name="uploads", daemon=True)
    thread.start()
    try:
        yield mirror.folder
    finally:
        ended.set()
        thread.join()
        mirror.send()


class _Mirror:
    """A folder in a bucket, and its like here."""

    def __init__(self, remote: RemotePath, folder: Path) -> None:
        self.remote, self.folder = remote, folder
        # Beside the folder: what is made there may refuse strange files.
        self._marker = folder.with_name(f".{folder.name}.writer")
        self._record = folder.with_name(f".{folder.name}.sent.json")

    def bring(self) -> None:
        """Make the folder here what is in the bucket, unless it was this folder that went there.

        Then what is here is the later of the two: all that was uploaded, and what a killed process
        could not.
        """
        there = self.remote / _WRITER
        last = there.read_text().strip() if there.exists() else None
        if last is not None and self._marker.exists() and self._marker.read_text("utf-8") == last:
            return
        objects = [each for each in self.remote.below() if each.name != _WRITER]
        wanted = {each.relative_to(self.remote).as_posix(): each for each in objects}
        for name in self._files():
            if name not in wanted:
                (self.folder / name).unlink()
        for name, each in wanted.items():
            target = self.folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            each.fetch(target)
        write_json(self._record, self._state())
        own = uuid.uuid4().hex
        put_bytes(own.encode("ascii"), there)  # a bucket that takes none is told of at once
        self._marker.write_text(own, "utf-8")

    def send(self) -> None:
        """Upload what has changed since, and remove what was removed.

        Raises:
            RemoteError: It cannot be written.
        """
        sent = self._sent()
        naming = {name: (self.folder / name).read_bytes() for name in self._files() if _names(name)}
        state = self._state()
        changed = sorted(
            (name for name in state if sent.get(name) != state[name]),
            key=lambda name: state[name][1],
        )
        gone = [name for name in sent if name not in state]
        if not (changed or gone):
            return
        for name in changed:
            if not _names(name):
                put(self.folder / name, self.remote / name)
        for name in filter(_names, changed):
            if name in naming:
                put_bytes(naming[name], self.remote / name)
            if len(naming.get(name, b"")) != state[name][0]:
                del state[name]  # it has grown meanwhile, and goes with the next
        remove(self.remote / name for name in gone)
        write_json(self._record, state)

    def _sent(self) -> dict[str, list[int]]:
        try:
            return parse_json(self._record.read_bytes())
        except (FileNotFoundError, ValueError):  # a process was killed before it was whole
            return {}

    def _files(self) -> list[str]:
        """Whole files that are no locks and no other hidden ones."""
        found = []
        for path in self.folder.rglob("*") if self.folder.is_dir() else ():
            below = path.relative_to(self.folder)
            hidden = any(part.startswith(".") for part in below.parts)
            if not hidden and not part_of(path) and path.is_file():
                found.append(below.as_posix())
        return found

    def _state(self) -> dict[str, list[int]]:
        state = {}
        for name in self._files():
            status = (self.folder / name).stat()
            state[name] = [status.st_size, status.st_mtime_ns]
        return state


def _names(name: str) -> bool:
    """Whether a file names others."""
    return name.endswith(".jsonl")
