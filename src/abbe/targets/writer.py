"""Write a target store: append-only, whole images or nothing, in the background."""

import errno
import json
import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from threading import BoundedSemaphore
from types import TracebackType
from typing import NamedTuple, Self

import numpy as np

from abbe.errors import StoreError
from abbe.targets import index
from abbe.targets.arrays import GrowingArray, write_group
from abbe.targets.entries import IDENTITY, Entry, Place, View, check_facts
from abbe.targets.kinds import to_stored
from abbe.targets.lock import WriterLock
from abbe.targets.provenance import Provenance
from abbe.targets.shards import compress

# A shard is written anew and synced for each write, so a fast teacher's images go four together;
# a slow teacher's go one by one, because each would cost much to teach again.
_TOGETHER = 4
_APART_SECONDS = 0.5
# Images that may wait for the disk: enough to smooth over a slow write, few enough to teach again.
_WAITING = 2 * _TOGETHER
_LOCK = ".lock"
PARTS = "parts"
"""Folder, in a store's, of what several writers have made at the same time: a store each."""
_FULL = {errno.ENOSPC, errno.EDQUOT}


class _Waiting(NamedTuple):
    """An image whose maps are checked but not yet on the disk; its entry has no places yet."""

    entry: Entry
    maps: dict[str, np.ndarray]


class TargetWriter:
    """Adds targets to a store. Make one with :meth:`open`; use it as a context manager.

    Maps are compressed and written by a thread. An image is recorded only once its maps are on
    the disk, and what is recorded is never touched again, so that a kill, a full disk or a power
    cut costs at most the last eight images, which the next run finds missing and teaches again.
    """

    def __init__(
        self,
        path: Path,
        provenance: Provenance,
        lock: WriterLock | None,
        entries: list[Entry],
        told: Callable[[Entry], object],
    ) -> None:
        self.path = path
        self._provenance = provenance
        self._outputs = provenance.outputs
        self._lock = lock
        self._told = told
        self._adopted: set[str] = set()
        self._known: dict[str, tuple[str, set[View]]] = {}
        self._rows: dict[str, int] = {}
        self._arrays: dict[str, GrowingArray] = {}
        for entry in entries:
            self._remember(entry)
            for place in entry.maps.values():
                self._rows[place.array] = max(self._rows.get(place.array, 0), place.row + 1)
        self._waiting: deque[_Waiting] = deque()
        self._room = BoundedSemaphore(_WAITING)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="targets")
        self._written = time.monotonic() - _APART_SECONDS
        self._failure: BaseException | None = None
        self._closed = False

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        provenance: Provenance,
        *,
        locked: bool = True,
        told: Callable[[Entry], object] = lambda entry: None,
    ) -> Self:
        """Make a store, or continue the one that is there.

        Args:
            path: the store's folder; made, with its parents, if it is not there.
            provenance: the teacher; all but its notes must agree with the store's.
            locked: keep other writers out. Only who has made up the folder's name knows that there
                are none, where a file system has no locks.
            told: told of each target once it is on the disk, by the writing thread.

        Raises:
            StoreError: the folder holds something else or another teacher's targets (each
                differing field is named), another writer is at work, or it cannot be written.
        """
        root = Path(path)
        with _explaining(root, "opening it"):
            _refuse_others(root, provenance)
            root.mkdir(parents=True, exist_ok=True)
            lock = WriterLock(root / _LOCK) if locked else None
            try:
                if not (root / "zarr.json").exists():
                    index.create(root, provenance)
                _refuse_others(root, provenance)
                for half in root.rglob(".*.part"):
                    if PARTS not in half.relative_to(root).parts:  # others may write there
                        half.unlink()
                entries, whole = index.read_index(root)
                if whole < (root / index.INDEX).stat().st_size:
                    os.truncate(root / index.INDEX, whole)
                return cls(root, provenance, lock, entries, told)
            except BaseException:
                if lock is not None:
                    lock.release()
                raise

    def has(self, id: str, image_sha256: str, *, view: View = IDENTITY) -> bool:
        """Whether this view of the image has been appended, now or by an earlier run.

        Raises:
            StoreError: the store has the image with other pixels.
        """
        if id not in self._known:
            return False
        known, views = self._known[id]
        if known != image_sha256:
            raise StoreError(
                f"{self.path}: '{id}' has changed since it was taught (its pixels have another "
                "checksum); give the changed image another id, or teach into a new store"
            )
        return view in views

    def append(
        self,
        id: str,
        maps: Mapping[str, np.ndarray],
        *,
        image_sha256: str,
        shape: tuple[int, int] | None = None,
        pixel_size: float | None = None,
        view: View = IDENTITY,
        empty: bool = False,
    ) -> None:
        """Check one image's maps and hand them to the writing thread; the arrays may be reused.

        Args:
            id: the image's name in its data set.
            maps: kind to array: ``probability`` (K, H, W) in [0, 1], ``instances`` (H, W),
                ``embedding`` (C, h, w), ``logits`` (K, H, W).
            image_sha256: of the pixels of the teacher's channels, before the view is taken.
            shape: height and width in px of what the teacher saw; may be left out where the
                maps other than the embedding tell it.
            pixel_size: µm per px of the image.
            view: what part of the image the teacher saw.
            empty: the teacher found nothing; ``maps`` may be without anything then.

        Raises:
            StoreError: a map cannot be what it should be (names image and kind), the image is
                there already or has changed, or an earlier image could not be written.
        """
        self._raise_failure()
        check_facts(id, image_sha256, pixel_size)
        if self.has(id, image_sha256, view=view):
            raise StoreError(f"{self.path}: '{id}' is there already as {view}")
        if not maps and not empty:
            raise StoreError(f"'{id}': no maps; an image on which nothing was found is empty=True")
        stored = {kind: to_stored(id, kind, map, self._outputs) for kind, map in maps.items()}
        shape = _common_shape(id, stored, shape)
        view.check_shape(shape, id)
        pixel_size = None if pixel_size is None else float(pixel_size)
        entry = Entry(id, image_sha256, shape, pixel_size, view, bool(empty), {})
        self._room.acquire()
        self._remember(entry)
        self._waiting.append(_Waiting(entry, stored))
        apart = time.monotonic() - self._written
        if len(self._waiting) >= _TOGETHER or apart >= _APART_SECONDS:
            self._thread.submit(self._write_waiting)

    def known_sha256(self, id: str) -> str | None:
        """The checksum of the image as it was taught; None where it was not."""
        known = self._known.get(id)
        return None if known is None else known[0]

    def adopt(self, part: str, entries: Sequence[Entry] | None = None) -> int:
        """Take up what another writer has put into ``parts/PART``; its maps stay where they are.

        Targets that are here already are passed over.

        Args:
            part: the name of the part, a store of its own.
            entries: what is known to be new in it; all that its index names where None.

        Returns:
            How many targets are new here.

        Raises:
            StoreError: the part is another teacher's or damaged, or the index cannot be written.
        """
        self._raise_failure()
        folder, below = self.path / PARTS / part, f"{PARTS}/{part}"
        with _explaining(self.path, f"adopting {part}"):
            if part not in self._adopted:
                _refuse_others(folder, self._provenance)
                write_group(folder.parent)
                self._adopted.add(part)
            if entries is None:
                entries = index.read_index(folder)[0]
            new = [
                replace(entry, maps={kind: at.below(below) for kind, at in entry.maps.items()})
                for entry in entries
                if not self.has(entry.id, entry.image_sha256, view=entry.view)
            ]
            if new:
                self._write_index(new)
        for entry in new:
            self._remember(entry)
        return len(new)

    def flush(self) -> None:
        """Return once everything appended is on the disk.

        Raises:
            StoreError: an image could not be written.
        """
        if not self._closed:
            self._thread.submit(self._write_waiting).result()
        if self._failure is not None:
            raise self._failure

    def close(self) -> None:
        """Write what waits, and let the next writer in; closing twice does nothing.

        Raises:
            StoreError: an image could not be written.
        """
        if self._closed:
            return
        self._closed = True
        self._thread.submit(self._write_waiting)
        self._thread.shutdown(wait=True)
        if self._lock is not None:
            self._lock.release()
        if self._failure is not None:
            raise self._failure

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self.close()
        except StoreError as failure:
            if error is None:
                raise
            if error is not failure:
                error.add_note(str(failure))

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure
        if self._closed:
            raise StoreError(f"{self.path}: the writer is closed")

    def _remember(self, entry: Entry) -> None:
        self._known.setdefault(entry.id, (entry.image_sha256, set()))[1].add(entry.view)

    def _write_waiting(self) -> None:
        """Write all that waits, in the thread."""
        batch: list[_Waiting] = []
        while self._waiting:
            batch.append(self._waiting.popleft())
        try:
            if batch and self._failure is None:
                with _explaining(self.path, f"writing the target of '{batch[0].entry.id}'"):
                    self._write(batch)
        except BaseException as failure:  # kept for the next call; nothing is hidden
            self._failure = failure
        finally:
            self._written = time.monotonic()
            for _ in batch:
                self._room.release()

    def _write(self, batch: list[_Waiting]) -> None:
        frames: dict[tuple[str, tuple[int, ...]], list[bytes]] = {}
        entries = []
        for entry, maps in batch:
            places = {}
            for kind, values in maps.items():
                name = f"{kind}/{'x'.join(map(str, values.shape))}"
                waiting = frames.setdefault((kind, values.shape), [])
                places[kind] = Place(name, self._array(kind, values.shape).rows + len(waiting))
                waiting.append(compress(values))
            entries.append(replace(entry, maps=places))
        for (kind, map_shape), waiting in frames.items():
            self._array(kind, map_shape).append(waiting)
        self._write_index(entries)
        for entry in entries:
            self._told(entry)

    def _write_index(self, entries: Sequence[Entry]) -> None:
        """Record targets whose maps are on the disk."""
        lines = [json.dumps(each.to_json(), ensure_ascii=False) + "\n" for each in entries]
        with open(self.path / index.INDEX, "a", encoding="utf-8", newline="\n") as file:
            file.writelines(lines)
            file.flush()
            os.fsync(file.fileno())

    def _array(self, kind: str, map_shape: tuple[int, ...]) -> GrowingArray:
        name = f"{kind}/{'x'.join(map(str, map_shape))}"
        if name not in self._arrays:
            rows = self._rows.get(name, 0)
            self._arrays[name] = GrowingArray(self.path, name, kind, map_shape, rows)
        return self._arrays[name]


def _refuse_others(root: Path, provenance: Provenance) -> None:
    """Refuse a folder that is not a store, or the store of another teacher, before touching it."""
    if (root / "zarr.json").exists():
        differing = index.read_provenance(root).differences(provenance)
        if differing:
            raise StoreError(
                f"{root}: holds the targets of another teacher or of other settings; teach into a "
                "new store. What differs:\n  " + "\n  ".join(differing)
            )
        return
    if root.is_dir():
        # A writer killed while it made the store leaves its lock and an empty index.
        others = [
            p.name
            for p in sorted(root.iterdir())
            if p.name != _LOCK and p.suffix != ".part" and (p.name != index.INDEX or _filled(p))
        ]
        if others:
            raise StoreError(
                f"{root}: holds {others[0]} but no zarr.json: not a target store, or copied in "
                "part; name a new folder"
            )


def _filled(file: Path) -> bool:
    return file.is_dir() or file.stat().st_size > 0


def _common_shape(
    id: str, maps: Mapping[str, np.ndarray], shape: tuple[int, int] | None
) -> tuple[int, int]:
    found = {} if shape is None else {"shape": (int(shape[0]), int(shape[1]))}
    found |= {kind: map.shape[-2:] for kind, map in maps.items() if kind != "embedding"}
    if len(set(found.values())) > 1:
        raise StoreError(f"'{id}': height and width must be the same, not {found}")
    if not found:
        raise StoreError(f"'{id}': give shape, the height and width that the teacher saw")
    return next(iter(found.values()))


@contextmanager
def _explaining(root: Path, doing: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            reason = "the disk is full; free some space"
        elif isinstance(error, PermissionError) or error.errno == errno.EROFS:
            reason = "the folder may not be written; change its permissions or name another"
        else:
            reason = error.strerror or str(error)
        raise StoreError(
            f"{root}: {reason} ({type(error).__name__} while {doing}). Targets recorded before "
            "are whole; the same command continues behind them."
        ) from error
